"""The vectors of the items asked for latest, in the memory of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from mmrank.outputs import require_extra
from mmrank.serving.embeddings.base import ItemVectors, VectorShape


class VectorCache:
    """A cache of items' vectors that forgets the least recently used, and what is old.

    All its room is reserved at once, in arrays of which only what is used takes memory. May be used
    by several threads.

    Args:
      capacity: Items it holds.
      shape: Of an item's vectors.
      seconds: How long after `put` an item is held.
      clock: Gives seconds that never go back.

    Raises:
      MissingExtra: The package cachetools is not installed.
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
        # Not a TTLCache, which does not say whose slots it gives back.
        self._seconds, self._clock = seconds, clock
        self._until = np.zeros(capacity)

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items [N]; not known are those that it does not hold."""
        with self._lock:
            slots = np.array([self._slots.get(item, -1) for item in ids], np.intp)
            # The slot of an item may be another's as soon as the lock is given back.
            room = self._room
            tokens, present, match = room.tokens[slots], room.present[slots], room.match[slots]
            known = (slots >= 0) & (self._clock() < self._until[slots])
        return ItemVectors(tokens, present, match, known)

    def put(self, ids: Sequence[str], found: ItemVectors) -> None:
        """Keeps the items that were found."""
        with self._lock:
            until = self._clock() + self._seconds
            for i in np.flatnonzero(found.known):
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
