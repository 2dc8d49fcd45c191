"""Which items the latest pages had, against which feedback is checked."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import cachetools
import numpy as np


class RememberedPages:
    """The items of the latest pages. May be used by several threads.

    Of an item only a hash of 64 bits is kept, which nobody outside of the process can predict.

    Args:
      items: Most items of all pages together; the pages that were used least recently are forgotten
        first.

    Example:
      >>> pages = RememberedPages(items=3)
      >>> pages.add("a", ["P1", "P2"])
      >>> pages.foreign("a", ["P2", "P7"])
      ['P7']
      >>> pages.add("b", ["P1", "P2"])
      >>> pages.foreign("a", ["P2"]) is None  # forgotten
      True
    """

    def __init__(self, items: int):
        self._pages: cachetools.LRUCache[str, np.ndarray] = cachetools.LRUCache(items, len)
        self._lock = threading.Lock()

    def add(self, page: str, items: Sequence[str]) -> None:
        """Remembers a page, unless it alone has too many items."""
        hashes = _hashes(items)
        with self._lock:
            if len(items) <= self._pages.maxsize:
                self._pages[page] = hashes

    def foreign(self, page: str, items: Iterable[str]) -> list[str] | None:
        """Returns those of some items that a page did not have; None for an unknown page."""
        with self._lock:
            known = self._pages.get(page)
        if known is None:
            return None
        asked = list(items)
        there = np.isin(_hashes(asked), known)
        return [item for item, found in zip(asked, there.tolist(), strict=True) if not found]


def _hashes(items: Iterable[str]) -> np.ndarray:
    return np.array([hash(item) for item in items], np.int64)
