"""The embeddings of the queries and users requested most recently, by their features."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrank.outputs import require_extra
from mmrank.serving.steps import Arrays, Run, Steps, finish


class QueryCache:
    """A cache of one model's contexts. It is safe to use from several threads.

    The same model returns the same contexts for the same features, so entries do not expire. The
    features are kept only as a hash.

    Args:
      capacity: Number of queries that the cache holds.
      encode: Runs `encode_queries` for `get`: query and user features [B] with flags → contexts.

    Raises:
      MissingExtra: The package cachetools is not installed.
    """

    def __init__(self, capacity: int, encode: Callable[[Arrays], Mapping[str, np.ndarray]]):
        require_extra("caching embeddings", "cachetools", "serving")
        from cachetools import LRUCache

        self._encode, self._lock = encode, threading.Lock()
        self._kept: LRUCache = LRUCache(capacity)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, rows: Sequence[Arrays]) -> tuple[Arrays, np.ndarray]:
        """Returns the result of `steps`, which run on this thread."""
        return finish(self.steps(rows), lambda _, batch: self._encode(batch))

    def steps(self, rows: Sequence[Arrays]) -> Steps[tuple[Arrays, np.ndarray]]:
        """Returns the contexts of queries, [B, ...] by name, and which were cached, [B] bool.

        The contexts are the outputs of `encode_queries`.

        Args:
          rows: For each query its features [1] with their flags.
        """
        keys = [_key(row) for row in rows]
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in found}
        if missing:
            names = rows[0].keys()
            batch = {n: np.concatenate([row[n] for row in missing.values()]) for n in names}
            encoded = yield Run("encode_queries", batch)
            for i, key in enumerate(missing):
                found[key] = {n: a[i] for n, a in encoded.items()}
            with self._lock:
                self._kept.update({key: found[key] for key in missing})
        contexts = {n: np.stack([found[key][n] for key in keys]) for n in found[keys[0]]}
        return contexts, np.array([key not in missing for key in keys])


def _key(row: Arrays) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(row):
        value = row[name][0]
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        digest.update(f"{name}:{len(raw)}:".encode())
        digest.update(raw)
    return digest.digest()
