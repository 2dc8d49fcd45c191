"""The vectors of the items asked for latest, in the memory of the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from mmrank.outputs import require_extra
from mmrank.serving.embeddings.base import ItemVectors


class VectorCache:
    """A cache of items' vectors that forgets the least recently used; safe among threads.

    All its room is reserved at once, in arrays of which only what is used takes memory.

    Args:
      capacity: Items it holds.
      modalities: M.
      width: D.

    Raises:
      MissingExtra: The package cachetools is not installed.
    """

    def __init__(self, capacity: int, modalities: int, width: int):
        require_extra("caching embeddings", "cachetools", "serving")
        from cachetools import LRUCache

        self._capacity, self._lock = capacity, threading.Lock()
        self._slots: LRUCache = LRUCache(capacity)
        self._room = ItemVectors.none(capacity, modalities, width)

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items [N]; not known are those that it does not hold."""
        with self._lock:
            slots = np.array([self._slots.get(item, -1) for item in ids], np.intp)
            # The slot of an item may be another's as soon as the lock is given back.
            tokens, present = self._room.tokens[slots], self._room.present[slots]
        return ItemVectors(tokens, present, slots >= 0)

    def put(self, ids: Sequence[str], found: ItemVectors) -> None:
        """Keeps the items that were found."""
        with self._lock:
            for i in np.flatnonzero(found.known):
                slot = self._slot(ids[i])
                self._room.tokens[slot] = found.tokens[i]
                self._room.present[slot] = found.present[i]

    def _slot(self, item: str) -> int:
        slot = self._slots.get(item)
        if slot is None:
            slot = len(self._slots)
            if slot == self._capacity:
                _, slot = self._slots.popitem()
            self._slots[item] = slot
        return slot
