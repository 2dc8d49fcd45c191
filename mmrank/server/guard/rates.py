"""How often a client may ask: a sliding window for each key, counted in memory."""

from __future__ import annotations

import functools
import time

import limits

from mmrank.config import ConfigError

EXAMPLES = "such as 100/second, 5000/minute or 100000/hour"


@functools.lru_cache(maxsize=1024)
def parse_rate(rate: str) -> limits.RateLimitItem:
    """A rate as the library has it.

    Raises:
      ConfigError: It is none.
    """
    try:
        return limits.parse(rate)
    except ValueError as error:
        raise ConfigError(f"{rate!r} is no rate; write one {EXAMPLES}") from error


class Rates:
    """Counts of requests by client.

    The window is counted approximately, by this and the last whole one, so that a client costs a
    few numbers however much it asks.
    """

    def __init__(self) -> None:
        self._windows = limits.strategies.SlidingWindowCounterRateLimiter(
            limits.storage.MemoryStorage()
        )

    def hit(self, rate: str, client: str) -> bool:
        """Counts one request; False, and nothing counted, if it is one too many."""
        return self._windows.hit(parse_rate(rate), client)

    def retry_seconds(self, rate: str, client: str) -> int:
        """Seconds after which a refused client may try again, at least 1."""
        resets = self._windows.get_window_stats(parse_rate(rate), client).reset_time
        return max(1, round(resets - time.time() + 0.5))
