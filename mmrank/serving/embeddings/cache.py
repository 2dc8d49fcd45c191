"""The vectors of the items requested most recently, in the memory of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from mmrank.outputs import require_extra
from mmrank.serving.embeddings.base import ItemVectors, VectorShape


class VectorCache:
    """A cache of items' vectors that drops old vectors and, if full, the least recently used.

    All arrays are allocated at once, but the parts of them that are not used take no memory. The
    cache is safe to use from several threads.

    Args:
      capacity: Number of items that the cache holds.
      shape: The shape of an item's vectors.
      seconds: Seconds after `put` during which an item is held.
      clock: Returns monotonic seconds.

    Raises:
      MissingExtra: The package cachetools is not installed.

    Example:
      >>> import numpy as np
      >>> from mmrank.serving.embeddings.base import VectorShape
      >>> cache = VectorCache(capacity=1, shape=VectorShape(1, 2), seconds=60.0)
      >>> known, present = np.ones(1, bool), np.ones([1, 1], bool)
      >>> found = ItemVectors(np.ones([1, 1, 2]), present, np.zeros([1, 0]), known)
      >>> cache.put(["P1"], found)
      >>> cache.get(["P1", "P2"]).known.tolist()
      [True, False]
    """

    def __init__(
        self,
        capacity: int,
        shape: VectorShape,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        require_extra("caching embeddings", "cachetools", "serving")
        from cachetools import LRUCache

        self._capacity, self._lock = capacity, threading.Lock()
        self._slots: LRUCache = LRUCache(capacity)
        self._room = ItemVectors.none(capacity, shape)
        # A TTLCache does not report which entries expire, so their slots could not be reused.
        self._seconds, self._clock = seconds, clock
        self._until = np.zeros(capacity)

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """Returns the vectors of some items [N]; items that the cache lacks are not known."""
        with self._lock:
            slots = np.array([self._slots.get(item, -1) for item in ids], np.intp)
            # Copied under the lock: after its release an item's slot may be reused for another.
            room = self._room
            tokens, present, match = room.tokens[slots], room.present[slots], room.match[slots]
            known = (slots >= 0) & (self._clock() < self._until[slots])
        return ItemVectors(tokens, present, match, known)

    def put(self, ids: Sequence[str], found: ItemVectors) -> None:
        """Keeps the vectors of the items that were found."""
        with self._lock:
            until = self._clock() + self._seconds
            for i in np.flatnonzero(found.known).tolist():
                slot = self._slot(ids[i])
                self._room.tokens[slot] = found.tokens[i]
                self._room.present[slot] = found.present[i]
                self._room.match[slot] = found.match[i]
                self._until[slot] = until

    def _slot(self, item: str) -> int:
        slot = self._slots.get(item)
        if slot is None:
            slot = len(self._slots)
            if slot == self._capacity:
                _, slot = self._slots.popitem()
            self._slots[item] = slot
        return slot
