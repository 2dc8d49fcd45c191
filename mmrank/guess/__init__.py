"""Guesses a schema for a folder without one from its tables, and gives reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.guess.features import Guess
    from mmrank.guess.writing import Written, guess_schema

__all__ = [
    "Guess",
    "Written",
    "guess_schema",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.guess.features": ["Guess"],
        "mmrank.guess.writing": ["Written", "guess_schema"],
    },
)
