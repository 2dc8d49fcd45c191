"""Decides when to stop calling a service that does not answer, and when to try again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """A circuit breaker: closed (calls allowed), open (no calls), half-open (one probe).

    The breaker opens after some failures in a row, for a pause. After the pause one caller may
    probe. If the probe fails, the pause doubles, up to the longest; if it succeeds, all callers may
    call again. A call that was allowed before the breaker opened and fails afterwards changes
    nothing.

    Args:
      failures: Number of failures in a row that open the breaker.
      pause: Seconds of the first pause.
      longest: Seconds of the longest pause.
      clock: Returns monotonic seconds.

    Source: Nygard 2018, "Release It!", 2nd edition, section 5.2.

    Example:
      >>> now = 0.0
      >>> breaker = Breaker(failures=2, pause=5.0, longest=60.0, clock=lambda: now)
      >>> breaker.failure(), breaker.failure(), breaker.allow()
      (False, True, False)
      >>> now = 5.0
      >>> breaker.allow(), breaker.success(), breaker.open
      (True, True, False)
    """

    def __init__(
        self,
        failures: int,
        pause: float,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._most, self._first, self._longest, self._clock = failures, pause, longest, clock
        self._lock = threading.Lock()
        self._failed, self._pause = 0, pause
        self._until: float | None = None
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the breaker has opened, and no call has succeeded since."""
        return self._until is not None

    def allow(self) -> bool:
        """Returns whether the caller may call now.

        A caller that may has to report `success` or `failure` afterwards.
        """
        with self._lock:
            if self._until is None:
                return True
            if self._clock() < self._until:
                return False
            # This caller probes. All others wait another pause for its result.
            self._until = self._clock() + self._pause
            self._probing = True
            return True

    def success(self) -> bool:
        """Records that a call succeeded; returns whether this closed the breaker."""
        with self._lock:
            closed = self._until is not None
            self._failed, self._pause, self._until = 0, self._first, None
            self._probing = False
            return closed

    def failure(self) -> bool:
        """Records that a call failed; returns whether this opened the breaker."""
        with self._lock:
            if self._until is not None:
                if self._probing:
                    self._probing = False
                    self._pause = min(2 * self._pause, self._longest)
                    self._until = self._clock() + self._pause
                return False
            self._failed += 1
            if self._failed < self._most:
                return False
            self._until = self._clock() + self._pause
            return True
