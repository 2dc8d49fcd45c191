"""When to stop asking something that does not answer, and when to try again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """A circuit breaker: closed (asked), open (left alone), half-open (one probe).

    It opens after some failures in a row, for a pause; then one caller may try. If that fails too
    the pause doubles, up to the longest; if it succeeds everybody asks again. Callers who were
    let in before it opened and fail afterwards tell nothing new, and change nothing.

    Args:
      failures: Failures in a row that open it.
      pause: Seconds of the first pause.
      longest: Seconds of the longest pause.
      clock: Gives seconds that never go back.

    Source: Nygard 2018, "Release It!", 2nd edition, section 5.2.
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
        """Whether it has failed, and no probe has succeeded since."""
        return self._until is not None

    def allow(self) -> bool:
        """Whether the caller may ask now, and then has to report `success` or `failure`."""
        with self._lock:
            if self._until is None:
                return True
            if self._clock() < self._until:
                return False
            # A probe: the others wait another pause for what it brings.
            self._until = self._clock() + self._pause
            self._probing = True
            return True

    def success(self) -> bool:
        """It answered; whether that closed it."""
        with self._lock:
            closed = self._until is not None
            self._failed, self._pause, self._until = 0, self._first, None
            self._probing = False
            return closed

    def failure(self) -> bool:
        """It did not answer; whether that opened it."""
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
