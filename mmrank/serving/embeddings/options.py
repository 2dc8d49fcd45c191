"""How item vectors are cached and looked up: the section `embeddings` of a server's config."""

from __future__ import annotations

import dataclasses
import math
import urllib.parse

from mmrank.config import ConfigError

PASSWORD_VARIABLE = "MMRANK_REDIS_PASSWORD"
SCHEMES = ("redis", "rediss", "unix")


@dataclasses.dataclass(frozen=True)
class EmbeddingOptions:
    """Where item vectors come from.

    Attributes:
      redis: Address such as redis://127.0.0.1:6379/0 (rediss for TLS), with its password in the
        environment variable MMRANK_REDIS_PASSWORD; null to use the export's table alone.
      prefix: Start of every key in Redis.
      timeout_ms: Milliseconds to wait for a connection to Redis, and as many for its answer.
      failures: Number of failures in a row after which Redis is not called for `pause_s`.
      pause_s, longest_pause_s: Seconds of the first such pause, and of the longest. The pause
        doubles with each failed probe.
      cached_items: Number of items from Redis whose vectors are kept in memory.
      cached_seconds: Seconds until a kept item is read from Redis again: vectors that are newly
        loaded into Redis for the same model are used after this time at the latest.
      cached_queries: Number of queries whose embeddings are kept in memory.

    Example:
      >>> EmbeddingOptions(redis="redis://127.0.0.1:6379/0").cached_items
      50000
      >>> EmbeddingOptions(redis="redis://:secret@127.0.0.1:6379/0")
      Traceback (most recent call last):
      mmrank.config.ConfigError: embeddings: redis contains a password; set it in the ...
    """

    redis: str | None = None
    prefix: str = "mmrank"
    timeout_ms: float = 50.0
    failures: int = 3
    pause_s: float = 1.0
    longest_pause_s: float = 30.0
    cached_items: int = 50_000
    cached_seconds: float = 600.0
    cached_queries: int = 10_000

    def __post_init__(self) -> None:
        above = ("timeout_ms", "failures", "pause_s", "cached_items", "cached_seconds")
        for name in (*above, "cached_queries"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"embeddings: {name} is {getattr(self, name)}; give more than 0")
        if not self.pause_s <= self.longest_pause_s < math.inf:
            raise ConfigError(
                f"embeddings: longest_pause_s is {self.longest_pause_s}; give pause_s "
                f"({self.pause_s}) or more"
            )
        if self.redis is not None:
            _check_address(self.redis)


def _check_address(address: str) -> None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"embeddings: redis is {(address.partition('@')[2] or address).partition('?')[0]!r}; "
            "write it as redis://HOST:PORT/NUMBER"
        )
    # redis-py reads a password from both parts of the address.
    asked = {name.lower() for name in urllib.parse.parse_qs(parts.query, keep_blank_values=True)}
    if parts.password is not None or "password" in asked:
        raise ConfigError(
            "embeddings: redis contains a password; set it in the environment as "
            f"{PASSWORD_VARIABLE} and leave it out of the address"
        )
