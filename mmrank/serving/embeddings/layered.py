"""Item vectors from the first source that has them: memory, Redis, the export's own table."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrank.serving.embeddings.base import (
    EmbeddingStore,
    ItemVectors,
    StoreUnavailable,
    VectorShape,
)
from mmrank.serving.embeddings.cache import VectorCache
from mmrank.serving.steps import Fetch, Run, Steps, finish

UNKNOWN, CACHE, REDIS, EXPORT = "unknown", "cache", "redis", "export"
Lookup = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class ExportedItems:
    """The table of an export as a store.

    Args:
      lookup: Runs `lookup_items`: ids [N] → tokens, present, perhaps match, and known.

    Attributes:
      absent_tokens: Tokens that replace those of absent modalities, [M, D] float32.
      shape: The shape of an item's vectors.
    """

    def __init__(self, lookup: Lookup):
        self._lookup = lookup
        nothing = ItemVectors.given(lookup(np.array([""], object)), np.zeros([1], bool))
        self.absent_tokens: np.ndarray = nothing.tokens[0]
        modalities, width = self.absent_tokens.shape
        self.shape = VectorShape(modalities, width, nothing.match.shape[1])

    def lookup(self, signature: str, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Runs `lookup_items`, the only signature that `steps` asks for."""
        return self._lookup(arrays["items"])

    def steps(self, ids: Sequence[str]) -> Steps[ItemVectors]:
        """Returns the vectors of some items."""
        found = yield Run("lookup_items", {"items": np.array(ids, object)})
        return ItemVectors.given(found, found["known"])


@dataclasses.dataclass(frozen=True)
class Found:
    """The vectors of N items and their sources.

    Attributes:
      vectors: The items' vectors; an unknown item has the absent tokens, and nothing present.
      sources: The source of each item's vectors, [N] texts: unknown, cache, redis or export.
      unavailable: Whether Redis was needed and did not answer.
    """

    vectors: ItemVectors
    sources: np.ndarray
    unavailable: bool = False


class LayeredStore:
    """The vectors of one model's items, each from the first layer that has it.

    Args:
      exported: The table of the export, which also has the tokens of unknown items.
      remote: Redis, or None.
      cache: The cache in memory of vectors from Redis, or None.

    Example:
      >>> import numpy as np
      >>> def lookup(ids):  # the signature of an export that has item P1 alone
      ...     known = ids == "P1"
      ...     tokens = np.where(known, 1.0, 0.0)[:, None, None].astype(np.float32)
      ...     return {"tokens": tokens, "present": known[:, None], "known": known}
      >>> found = LayeredStore(ExportedItems(lookup)).get(["P1", "P2"])
      >>> found.sources.tolist(), found.vectors.tokens.tolist()
      (['export', 'unknown'], [[[1.0]], [[0.0]]])
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
        """Tokens that replace those of absent modalities, [M, D] float32."""
        return self._exported.absent_tokens

    def get(self, ids: Sequence[str]) -> Found:
        """Returns the result of `steps`, which run on this thread."""
        return finish(self.steps(ids), self._exported.lookup)

    def steps(self, ids: Sequence[str]) -> Steps[Found]:
        """Returns the vectors of some items and their sources; an empty id is unknown."""
        texts = np.array(ids, object)
        room = ItemVectors.none(len(ids), self._exported.shape)
        room.tokens[:] = self.absent_tokens
        sources = np.full(len(ids), UNKNOWN, object)
        away = False
        if self._cache is not None:
            missing = _missing(room, texts)
            if len(missing):
                _put(room, sources, missing, self._cache.get(list(texts[missing])), CACHE)
        if self._remote is not None:
            missing = _missing(room, texts)
            if len(missing):
                asked = list(texts[missing])
                found = yield Fetch(functools.partial(_fetch, self._remote, asked))
                away = found is None
                if found is not None:
                    _put(room, sources, missing, found, REDIS)
                    if self._cache is not None:
                        self._cache.put(asked, found)
        missing = _missing(room, texts)
        if len(missing):
            found = yield from self._exported.steps(list(texts[missing]))
            _put(room, sources, missing, found, EXPORT)
        return Found(room, sources, away)


def _missing(room: ItemVectors, texts: np.ndarray) -> np.ndarray:
    """Returns the indices of the items that are still unknown, without empty ids."""
    return np.flatnonzero(~room.known & (texts != ""))


def _fetch(remote: EmbeddingStore, ids: list[str]) -> ItemVectors | None:
    """Returns the vectors of some items; None if the store does not answer."""
    try:
        return remote.get(ids)
    except StoreUnavailable:
        return None


def _put(
    room: ItemVectors, sources: np.ndarray, places: np.ndarray, found: ItemVectors, name: str
) -> None:
    """Fills in the vectors that one layer has of the items at some indices."""
    room.put(places, found)
    sources[places[found.known]] = name
