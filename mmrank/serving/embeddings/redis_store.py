"""Item vectors in Redis, under keys that name the model they belong to."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mmrank.outputs import require_extra
from mmrank.serving.embeddings.base import ItemVectors, StoreAway
from mmrank.serving.embeddings.breaker import Breaker
from mmrank.serving.embeddings.options import PASSWORD_VARIABLE
from mmrank.serving.embeddings.packed import Packing

if TYPE_CHECKING:
    import redis

logger = logging.getLogger(__name__)


def connect(address: str, timeout_ms: float) -> redis.Redis:
    """A client of a Redis that connects when it is first used, and never tries twice.

    Args:
      address: redis://HOST:PORT/NUMBER; the password comes from the environment.
      timeout_ms: Longest wait for a connection, and for an answer.

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
        # The breaker decides when to try again, and a request goes on without Redis meanwhile.
        retry=Retry(NoBackoff(), 0),
    )


def item_key(prefix: str, fingerprint: str, item: str) -> str:
    """The key of an item's vectors of one model."""
    return f"{prefix}:{fingerprint}:item:{item}"


def about_key(prefix: str, fingerprint: str) -> str:
    """The key of what is told of a model's vectors, as JSON, once all of them are there."""
    return f"{prefix}:{fingerprint}:about"


def models_key(prefix: str) -> str:
    """The key of the set of all fingerprints."""
    return f"{prefix}:models"


class RedisStore:
    """The vectors of one model's items in Redis.

    Args:
      client: Of the Redis.
      prefix: Start of every key.
      fingerprint: The model's `item_fingerprint`; vectors of another one are never read.
      packing: The form of the rows.
      breaker: Shared by all stores of this Redis.
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
        self._told_broken = threading.Event()

    def check(self) -> None:
        """Warns if this model's vectors are not wholly there, which may be meant so."""
        import redis

        try:
            about = self._client.get(about_key(self._prefix, self._fingerprint))
        except (redis.RedisError, OSError) as error:
            logger.warning("Redis is away, going on without it: %s", error)
            return
        if about is None:
            logger.warning(
                "Redis holds no finished vectors of the model %s under the prefix %s; load them "
                "with `python -m pipelines.load_redis`",
                self._fingerprint,
                self._prefix,
            )

    def get(self, ids: Sequence[str]) -> ItemVectors:
        """The vectors of some items, asked for in one command.

        Raises:
          StoreAway: It does not answer in time, or did not lately and is left alone.
        """
        import redis

        if not self._breaker.allow():
            raise StoreAway("Redis did not answer lately")
        try:
            keys = [item_key(self._prefix, self._fingerprint, item) for item in ids]
            rows = cast("list[bytes | None]", self._client.mget(keys))
        except (redis.RedisError, OSError) as error:
            if self._breaker.failure():
                logger.warning("Redis is away, going on without it: %s", error)
            raise StoreAway(str(error)) from error
        if self._breaker.success():
            logger.warning("Redis is back")
        found = self._packing.unpack(rows)
        broken = sum(row is not None for row in rows) - int(found.known.sum())
        if broken and not self._told_broken.is_set():
            self._told_broken.set()
            logger.warning(
                "%d rows in Redis under %s:%s are not of this model's form and count as unknown; "
                "load them anew with `python -m pipelines.load_redis`",
                broken,
                self._prefix,
                self._fingerprint,
            )
        return found
