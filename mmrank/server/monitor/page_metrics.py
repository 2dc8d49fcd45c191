"""Metrics of shown pages, of their log, and of feedback."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry

from mmrank.server.monitor.families import Tally

Lost = Literal["invalid", "queue", "disk", "shutdown"]


class PageMetrics:
    """Counts of shown pages, of lines of the log, and of feedback. Any thread may call the methods.

        mmrank_pages_total{order}                  by what decided: ranker, policy, interleaved
        mmrank_pages_explored_total                pages in another order than the base
        mmrank_page_log_lines_total{kind}          lines written, of shown pages or of feedback
        mmrank_page_log_lost_total{kind,reason}    what was not: invalid (such as a page without
                                                   ids), queue (full), disk, shutdown
        mmrank_page_log_waiting_bytes              what waits for the disk
        mmrank_feedback_total{page}                reports, by whether the page was known
        mmrank_feedback_items_total{event}         items in them: click, dwell, cart, purchase

    Args:
      registry: Where the metrics are registered.

    Example:
      >>> from prometheus_client import generate_latest
      >>> registry = CollectorRegistry()
      >>> PageMetrics(registry).page("policy", explored=True)
      >>> b'mmrank_pages_total{order="policy"} 1.0' in generate_latest(registry)
      True
    """

    def __init__(self, registry: CollectorRegistry):
        self._pages = Tally("mmrank_pages_total", "Pages shown, by what decided.", ("order",))
        self._explored = Tally("mmrank_pages_explored_total", "Pages changed at random.")
        self._lines = Tally("mmrank_page_log_lines_total", "Lines of the page log.", ("kind",))
        self._lost = Tally(
            "mmrank_page_log_lost_total",
            "Pages and feedback that were not logged.",
            ("kind", "reason"),
        )
        self._waiting = Tally(
            "mmrank_page_log_waiting_bytes",
            "Memory of pages and feedback that wait for the disk.",
            kind="gauge",
        )
        self._feedback = Tally("mmrank_feedback_total", "Reports of feedback.", ("page",))
        self._items = Tally("mmrank_feedback_items_total", "Items in feedback.", ("event",))
        for tally in vars(self).values():
            registry.register(tally)

    def page(self, order: str, explored: bool) -> None:
        """Counts a page by what decided on its order, and whether it was changed at random."""
        self._pages.add((order,))
        self._explored.add((), float(explored))

    def line(self, kind: str) -> None:
        """Counts a line that was written."""
        self._lines.add((kind,))

    def lost(self, kind: str, reason: Lost, count: int = 1) -> None:
        """Counts pages or feedback that were not logged."""
        self._lost.add((kind, reason), count)

    def waiting(self, size: int) -> None:
        """Sets the bytes that wait for the disk."""
        self._waiting.set((), size)

    def feedback(self, known: bool, events: dict[str, int]) -> None:
        """Counts a report by whether its page is remembered, and its items by event."""
        self._feedback.add(("known" if known else "unknown",))
        for event, count in events.items():
            self._items.add((event,), count)
