"""Item vectors in Redis, under keys with the fingerprint of their model."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mmrank.outputs import require_extra
from mmrank.serving.embeddings.base import ItemVectors, StoreUnavailable
from mmrank.serving.embeddings.breaker import Breaker
from mmrank.serving.embeddings.options import PASSWORD_VARIABLE
from mmrank.serving.embeddings.packed import Packing

if TYPE_CHECKING:
    import redis

logger = logging.getLogger(__name__)


def connect(address: str, timeout_ms: float) -> redis.Redis:
    """Returns a Redis client that connects when it is first used, and does not retry.

    Args:
      address: redis://HOST:PORT/NUMBER; the password comes from the environment.
      timeout_ms: Milliseconds to wait for a connection, and as many for an answer.

    Raises:
      MissingExtra: The package redis is not installed.
    """
    require_extra("embeddings in Redis", "redis", "serving")
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        address,
        password=os.environ.get(PASSWORD_VARIABLE),
        socket_timeout=timeout_ms / 1e3,
        socket_connect_timeout=timeout_ms / 1e3,
        # The breaker decides when to try again; until then requests continue without Redis.
        retry=Retry(NoBackoff(), 0),
    )


def item_key(prefix: str, fingerprint: str, item: str) -> str:
    """Returns the key of an item's vectors of one model."""
    return f"{prefix}:{fingerprint}:item:{item}"


def about_key(prefix: str, fingerprint: str) -> str:
    """Returns the key of the JSON description of a model's vectors.

    The key exists once all vectors are loaded.
    """
    return f"{prefix}:{fingerprint}:about"


def models_key(prefix: str) -> str:
    """Returns the key of the set of all fingerprints."""
    return f"{prefix}:models"


class RedisStore:
    """The vectors of one model's items in Redis.

    Args:
      client: The Redis client.
      prefix: Start of every key.
      fingerprint: The model's `item_fingerprint`; vectors of other models are never read.
      packing: The form of the rows.
      breaker: Shared by all stores of this Redis.

    Example:
      With a client that answers as a Redis with the vectors of P1 would:

      >>> from unittest import mock
      >>> import numpy as np
      >>> from mmrank.serving.embeddings.base import VectorShape
      >>> packing = Packing(VectorShape(modalities=1, width=2))
      >>> tokens, present = np.array([[[0.5, 1.0]]]), np.array([[True]])
      >>> [row] = packing.pack(tokens, present, np.zeros([1, 0]), "float32")
      >>> held = {"mmrank:1a2b:item:P1": row}
      >>> client = mock.Mock(mget=lambda keys: [held.get(key) for key in keys])
      >>> store = RedisStore(client, "mmrank", "1a2b", packing, Breaker(3, 1.0, 30.0))
      >>> store.get(["P1", "P2"]).known.tolist()
      [True, False]
    """

    def __init__(
        self,
        client: redis.Redis,
        prefix: str,
        fingerprint: str,
        packing: Packing,
        breaker: Breaker,
    ):
        self._client, self._packing, self._breaker = client, packing, breaker
        self._prefix, self._fingerprint = prefix, fingerprint
        self._broken_logged = threading.Event()

    def check(self) -> None:
        """Warns if Redis does not hold all vectors of this model, which may be intended."""
        import redis

        try:
            about = self._client.get(about_key(self._prefix, self._fingerprint))
        except (redis.RedisError, OSError) as error:
            logger.warning("Redis is unavailable, continuing without it: %s", error)
            return
        if about is None:
            logger.warning(
                "Redis holds no complete set of vectors of the model %s under the prefix %s; "
                "load them with `python -m pipelines.load_redis`",
                self._fingerprint,
                self._prefix,
            )

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """Returns the vectors of some items, read with one command.

        Raises:
          StoreUnavailable: Redis does not answer in time, or the breaker is open.
        """
        import redis

        if not self._breaker.allow():
            raise StoreUnavailable("Redis did not answer recently")
        try:
            keys = [item_key(self._prefix, self._fingerprint, item) for item in ids]
            rows = cast("list[bytes | None]", self._client.mget(keys))
        except (redis.RedisError, OSError) as error:
            if self._breaker.failure():
                logger.warning("Redis is unavailable, continuing without it: %s", error)
            raise StoreUnavailable(str(error)) from error
        if self._breaker.success():
            logger.warning("Redis is available again")
        found = self._packing.unpack(rows)
        broken = sum(row is not None for row in rows) - int(found.known.sum())
        if broken and not self._broken_logged.is_set():
            self._broken_logged.set()
            logger.warning(
                "%d rows in Redis under %s:%s do not have this model's format and count as "
                "unknown; load them again with `python -m pipelines.load_redis`",
                broken,
                self._prefix,
                self._fingerprint,
            )
        return found
