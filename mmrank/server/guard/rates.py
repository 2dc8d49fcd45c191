"""Limits how often a client may send requests: a sliding window per client, kept in memory."""

from __future__ import annotations

import functools
import time

import limits

from mmrank.config import ConfigError

EXAMPLES = "such as 100/second, 5000/minute or 100000/hour"


@functools.lru_cache(maxsize=1024)
def parse_rate(rate: str) -> limits.RateLimitItem:
    """Returns a rate as an object of the `limits` library.

    Raises:
      ConfigError: The text is not a rate.

    Example:
      >>> parse_rate("100/second").amount
      100
      >>> parse_rate("many")
      Traceback (most recent call last):
      mmrank.config.ConfigError: 'many' ...
    """
    try:
        return limits.parse(rate)
    except ValueError as error:
        raise ConfigError(f"{rate!r} is not a rate; write one {EXAMPLES}") from error


class Rates:
    """Counts of requests by client.

    The number of requests in the sliding window is estimated from the counts of the current and the
    previous fixed window. A client thus takes only a few numbers of memory, however many requests
    it sends.

    Example:
      >>> rates = Rates()
      >>> [rates.hit("2/hour", "client") for _ in range(3)]
      [True, True, False]
    """

    def __init__(self) -> None:
        self._windows = limits.strategies.SlidingWindowCounterRateLimiter(
            limits.storage.MemoryStorage()
        )

    def hit(self, rate: str, client: str) -> bool:
        """Counts one request. Returns False, and does not count it, if it exceeds the rate."""
        return self._windows.hit(parse_rate(rate), client)

    def retry_seconds(self, rate: str, client: str) -> int:
        """Returns the seconds after which a refused client may try again, at least 1."""
        resets = self._windows.get_window_stats(parse_rate(rate), client).reset_time
        return max(1, round(resets - time.time() + 0.5))
