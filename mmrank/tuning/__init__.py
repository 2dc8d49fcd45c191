"""A search over settings: the space of settings, trials in separate processes, and results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.tuning.reading import read_space
    from mmrank.tuning.search import Search, SearchError
    from mmrank.tuning.space import Choices, Range, Space
    from mmrank.tuning.study import open_study

__all__ = [
    "Choices",
    "Range",
    "Search",
    "SearchError",
    "Space",
    "open_study",
    "read_space",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.tuning.reading": ["read_space"],
        "mmrank.tuning.search": ["Search", "SearchError"],
        "mmrank.tuning.space": ["Choices", "Range", "Space"],
        "mmrank.tuning.study": ["open_study"],
    },
)
