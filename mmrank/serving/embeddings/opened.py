"""The stores of one server: one Redis client, one breaker, and a cache for each model in use."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from mmrank.serving.embeddings.base import StoreError
from mmrank.serving.embeddings.breaker import Breaker
from mmrank.serving.embeddings.cache import VectorCache
from mmrank.serving.embeddings.layered import ExportedItems, LayeredStore, Lookup
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.embeddings.packed import Packing
from mmrank.serving.embeddings.redis_store import RedisStore, connect

if TYPE_CHECKING:
    import redis


class EmbeddingStores:
    """Makes the store of each model. Models with the same fingerprint share a cache.

    Args:
      options: Where item vectors come from.

    Raises:
      MissingExtra: A package of the extra `serving` is not installed.
    """

    def __init__(self, options: EmbeddingOptions):
        self.options = options
        self.breaker = Breaker(options.failures, options.pause_s, options.longest_pause_s)
        self._caches: weakref.WeakValueDictionary[str, VectorCache] = weakref.WeakValueDictionary()
        self._client: redis.Redis | None = None
        if options.redis is not None:
            self._client = connect(options.redis, options.timeout_ms)

    def of_model(self, fingerprint: str, lookup: Lookup) -> LayeredStore:
        """Returns the store of a model's items.

        Args:
          fingerprint: The model's `item_fingerprint`.
          lookup: Runs `lookup_items` of the model's export.

        Raises:
          StoreError: The options name a Redis, and the model has no fingerprint.
        """
        exported = ExportedItems(lookup)
        if self._client is None:
            return LayeredStore(exported)
        if not fingerprint:
            raise StoreError(
                "embeddings: the export has no fingerprint, which keeps the vectors of different "
                "models apart in Redis; export the run again"
            )
        cache = self._caches.get(fingerprint)
        if cache is None:
            capacity, seconds = self.options.cached_items, self.options.cached_seconds
            cache = VectorCache(capacity, exported.shape, seconds)
            self._caches[fingerprint] = cache
        packing = Packing(exported.shape)
        remote = RedisStore(self._client, self.options.prefix, fingerprint, packing, self.breaker)
        remote.check()
        return LayeredStore(exported, remote, cache)

    def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            self._client.close()
