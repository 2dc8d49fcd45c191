"""Distinguishes complete new version folders from those that are still being written."""

from __future__ import annotations

import time
from collections.abc import Callable

from mmrank.server.loading import Stamp

LONGEST = 60.0  # seconds; most that a repeatedly refused folder has to stay unchanged


class Arrivals:
    """Decides which folders have stayed unchanged for long enough to be loaded.

    The required time doubles with each refusal of a folder.

    Args:
      rest: Seconds for which a new folder has to stay unchanged.
      clock: Returns monotonic time in seconds.
    """

    def __init__(self, rest: float, clock: Callable[[], float] = time.monotonic):
        self._rest, self._clock = rest, clock
        self._seen: dict[int, tuple[Stamp, float]] = {}
        self._refusals: dict[int, int] = {}

    def is_stable(self, number: int, stamp: Stamp) -> bool:
        """Returns whether a version's folder has stayed unchanged for long enough.

        Each call records the folder's current stamp.
        """
        now = self._clock()
        before = self._seen.get(number)
        if before is None or before[0] != stamp:
            self._seen[number] = (stamp, now)
            return False
        wait = min(LONGEST, self._rest * 2.0 ** self._refusals.get(number, 0))
        return now - before[1] >= wait

    def refused(self, number: int) -> None:
        """Doubles the time for which a version's folder has to stay unchanged."""
        self._refusals[number] = min(30, self._refusals.get(number, 0) + 1)

    def loaded(self, number: int) -> None:
        """Forgets a version that serves."""
        self._seen.pop(number, None)
        self._refusals.pop(number, None)
