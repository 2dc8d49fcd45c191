"""New folders of versions, told apart from those that a copier still writes to."""

from __future__ import annotations

import time
from collections.abc import Callable

from mmrank.server.loading import Stamp

LONGEST = 60.0  # seconds that a folder has to rest which was refused again and again


class Arrivals:
    """Which folders have rested: they are as they were for some time, longer after each refusal.

    Args:
      rest: Seconds that a new folder has to rest.
      clock: Seconds that never run backward.
    """

    def __init__(self, rest: float, clock: Callable[[], float] = time.monotonic):
        self._rest, self._clock = rest, clock
        self._seen: dict[int, tuple[Stamp, float]] = {}
        self._refusals: dict[int, int] = {}

    def rested(self, number: int, stamp: Stamp) -> bool:
        """Whether a version's folder, which looks so now, has rested; it is looked at by this."""
        now = self._clock()
        before = self._seen.get(number)
        if before is None or before[0] != stamp:
            self._seen[number] = (stamp, now)
            return False
        wait = min(LONGEST, self._rest * 2.0 ** self._refusals.get(number, 0))
        return now - before[1] >= wait

    def refused(self, number: int) -> None:
        """Has a version rest twice as long from now on."""
        self._refusals[number] = min(30, self._refusals.get(number, 0) + 1)

    def loaded(self, number: int) -> None:
        """Forgets a version that serves."""
        self._seen.pop(number, None)
        self._refusals.pop(number, None)
