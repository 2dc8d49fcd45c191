"""Decodes untrusted files in separate processes, with bounded memory and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.server.decoding.pool import DecodingPool

__all__ = [
    "DecodingPool",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.server.decoding.pool": ["DecodingPool"],
    },
)
