"""Sources of the vectors of encoded items at request time: an export's table, or Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.serving.embeddings.base import EmbeddingStore, ItemVectors, StoreError, VectorShape
    from mmrank.serving.embeddings.layered import LayeredStore
    from mmrank.serving.embeddings.options import EmbeddingOptions
    from mmrank.serving.embeddings.redis_store import RedisStore

__all__ = [
    "EmbeddingOptions",
    "EmbeddingStore",
    "ItemVectors",
    "LayeredStore",
    "RedisStore",
    "StoreError",
    "VectorShape",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.serving.embeddings.base": [
            "EmbeddingStore",
            "ItemVectors",
            "StoreError",
            "VectorShape",
        ],
        "mmrank.serving.embeddings.layered": ["LayeredStore"],
        "mmrank.serving.embeddings.options": ["EmbeddingOptions"],
        "mmrank.serving.embeddings.redis_store": ["RedisStore"],
    },
)
