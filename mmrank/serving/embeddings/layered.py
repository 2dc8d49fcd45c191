"""Item vectors from the nearest place that has them: memory, Redis, the export's own table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrank.serving.embeddings.base import EmbeddingStore, ItemVectors, StoreAway, VectorShape
from mmrank.serving.embeddings.cache import VectorCache

UNKNOWN, CACHE, REDIS, EXPORT = "unknown", "cache", "redis", "export"
Lookup = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class ExportedItems:
    """The table of an export as a store.

    Args:
      lookup: Runs `lookup_items`: ids [N] → tokens, present, perhaps match, and known.

    Attributes:
      absent_tokens: What stands in the place of absent modalities, [M, D] float32.
      shape: Of an item's vectors.
    """

    def __init__(self, lookup: Lookup):
        self._lookup = lookup
        nothing = ItemVectors.given(lookup(np.array([""], object)), np.zeros([1], bool))
        self.absent_tokens: np.ndarray = nothing.tokens[0]
        modalities, width = self.absent_tokens.shape
        self.shape = VectorShape(modalities, width, nothing.match.shape[1])

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items."""
        found = self._lookup(np.array(ids, object))
        return ItemVectors.given(found, found["known"])


@dataclasses.dataclass(frozen=True)
class Found:
    """What the layers gave for N items.

    Attributes:
      vectors: Theirs; an unknown item has the tokens of one without anything, nothing present.
      sources: Where each came from, [N] texts: unknown, cache, redis or export.
      away: Whether Redis was needed and did not answer.
    """

    vectors: ItemVectors
    sources: np.ndarray
    away: bool = False


class LayeredStore:
    """The vectors of one model's items, from the first layer that knows each.

    Args:
      exported: The table of the export, which gives unknown items their tokens too.
      remote: Redis, or None.
      cache: What is kept of it in memory, or None.
    """

    def __init__(
        self,
        exported: ExportedItems,
        remote: EmbeddingStore | None = None,
        cache: VectorCache | None = None,
    ):
        self._exported, self._remote, self._cache = exported, remote, cache

    @property
    def absent_tokens(self) -> np.ndarray:
        """What stands in the place of absent modalities, [M, D] float32."""
        return self._exported.absent_tokens

    def get(self, ids: Sequence[str]) -> Found:
        """The vectors of some items; an empty id is that of no item."""
        texts = np.array(ids, object)
        room = ItemVectors.none(len(ids), self._exported.shape)
        room.tokens[:] = self.absent_tokens
        sources = np.full(len(ids), UNKNOWN, object)
        away = False
        if self._cache is not None:
            _take(room, sources, texts, self._cache, CACHE)
        if self._remote is not None:
            try:
                asked, found = _take(room, sources, texts, self._remote, REDIS)
            except StoreAway:
                away = True
            else:
                if self._cache is not None and found is not None:
                    self._cache.put(asked, found)
        _take(room, sources, texts, self._exported, EXPORT)
        return Found(room, sources, away)


def _take(
    room: ItemVectors,
    sources: np.ndarray,
    texts: np.ndarray,
    store: EmbeddingStore,
    name: str,
) -> tuple[list[str], ItemVectors | None]:
    """Fills in what one layer knows of the items still unknown; gives what was asked and found."""
    missing = np.flatnonzero(~room.known & (texts != ""))
    if not len(missing):
        return [], None
    asked = list(texts[missing])
    found = store.get(asked)
    room.put(missing, found)
    sources[missing[found.known]] = name
    return asked, found
