"""How often guards stop a policy, over a sliding window of time, with an alarm."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from mmrank.server.monitor.watch import SLOTS

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Slot:
    number: int
    pages: int = 0
    stopped: int = 0


class GuardAlarm:
    """Counts the pages on which a guard closed a move that the policy would have made.

    As a collector of prometheus_client it reports

        mmrank_guard_window_pages          pages of the window that a policy rearranged
        mmrank_guard_stopped_share         share of them on which a guard stopped the policy
        mmrank_guard_stopped_threshold     the share above which the alarm is on
        mmrank_guard_alarm                 1 while it is on, else 0

    When the alarm goes on or off, one line is logged.

    Args:
      share: Share of pages above which the alarm is on.
      minutes: Length of the window.
      least: Pages that the window needs for the alarm.
      clock: Returns monotonic time in seconds.

    Example:
      >>> alarm = GuardAlarm(share=0.5, minutes=60, least=1)
      >>> alarm.page(stopped=True)
      >>> [family.samples[0].value for family in alarm.collect()]
      [1.0, 1.0, 0.5, 1.0]
    """

    def __init__(
        self,
        share: float,
        minutes: float,
        least: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._share, self._least, self._clock = share, least, clock
        self._seconds = minutes * 60 / SLOTS
        self._lock = threading.Lock()
        self._slots: collections.deque[_Slot] = collections.deque()
        self._on = False

    def page(self, stopped: bool) -> None:
        """Counts a page, and whether a guard stopped the policy there."""
        with self._lock:
            number = int(self._clock() / self._seconds)
            if not self._slots or self._slots[-1].number != number:
                self._slots.append(_Slot(number))
            self._slots[-1].pages += 1
            self._slots[-1].stopped += stopped
            self._update()

    def collect(self) -> Iterator[Metric]:
        """Yields the metric families listed in the class's docstring."""
        with self._lock:
            pages, stopped = self._update()
            alarm = self._on
        share = stopped / pages if pages else 0.0
        for name, text, value in (
            ("window_pages", "Pages of the window that a policy rearranged.", pages),
            ("stopped_share", "Share of them on which a guard stopped the policy.", share),
            ("stopped_threshold", "Share above which the alarm is on.", self._share),
            ("alarm", "1 while guards stop the policy too often.", alarm),
        ):
            yield GaugeMetricFamily(f"mmrank_guard_{name}", text, value=float(value))

    def _update(self) -> tuple[int, int]:
        """Returns the window's pages, and those of them on which the policy was stopped."""
        oldest = int(self._clock() / self._seconds) - SLOTS
        while self._slots and self._slots[0].number <= oldest:
            self._slots.popleft()
        pages = sum(slot.pages for slot in self._slots)
        stopped = sum(slot.stopped for slot in self._slots)
        on = pages >= self._least and stopped > self._share * pages
        if on != self._on:
            self._on = on
            logger.warning(
                "guards stopped the policy on %d of %d pages: the alarm goes %s",
                stopped,
                pages,
                "on" if on else "off",
            )
        return pages, stopped
