"""Writes shown pages and feedback to the log, and remembers the latest pages."""

from __future__ import annotations

import dataclasses
import logging
import math
import pathlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrank.data.page_log_lines import Feedback, Seen, ShownPage
from mmrank.server.monitor.page_metrics import PageMetrics
from mmrank.server.page_log import PageLog
from mmrank.server.page_log_options import LogOptions
from mmrank.server.remembered import RememberedPages

if TYPE_CHECKING:
    from mmrank.serving.staged import StagedList

MOST_TEXT = 1_000  # characters of a query in the log; longer texts are cut
WARNS = 60.0  # seconds between two warnings about pages that cannot be logged
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Asking:
    """Who asked for a page, as the log says it.

    Attributes:
      model, version: What ranked.
      query: The features of the query.
      user: The user's id as the model knows it; None if unknown.
    """

    model: str
    version: int
    query: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    user: str | None = None


class PageRecorder:
    """Logs the pages of one server and the feedback on them. Any thread may call the methods.

    Args:
      options: See `LogOptions`.
      metrics: Receives counts.
      clock: Returns the seconds since 1970.

    Raises:
      LogError: The folder of the log cannot be written to.
    """

    def __init__(
        self, options: LogOptions, metrics: PageMetrics, clock: Callable[[], float] = time.time
    ):
        self._options, self._metrics, self._clock = options, metrics, clock
        self._log: PageLog | None = None
        if options.folder is not None:
            self._log = PageLog(pathlib.Path(options.folder), options, metrics)
        self._remembered = RememberedPages(options.remembered_items)
        self._next_warning = -math.inf

    @property
    def logs(self) -> bool:
        """Whether there is a log."""
        return self._log is not None

    def fits(self, ranked: StagedList, candidates: np.ndarray) -> bool:
        """Returns whether a page can be logged: each candidate has an id of its own."""
        items = [ranked.ids[i] for i in candidates.tolist()]
        return all(items) and len(set(items)) == len(items)

    def page(
        self, ranked: StagedList, candidates: np.ndarray, asking: Asking, fields: Mapping[str, Any]
    ) -> str | None:
        """Returns the id of a page that will be logged; None if it will not be.

        Args:
          ranked: The ranked list.
          candidates: Indices of the request's candidates in the ranker's order, [n] int.
          asking: Who asked for it.
          fields: The fields of `ShownPage` that say how it is shown. `seen` may be a mapping with
            the names of the fields of `Seen`.
        """
        if self._log is None:
            return None
        page = uuid.uuid4().hex  # not the id of the request, which clients choose
        items = tuple(ranked.ids[i] for i in candidates.tolist())
        try:
            if not all(items):
                raise ValueError("items: a candidate has no id")
            seen = fields.get("seen")
            record = ShownPage(
                page=page,
                time=self._clock(),
                model=asking.model,
                version=asking.version,
                query=_logged_query(asking.query),
                user=asking.user,
                items=items,
                scores=ranked.scores[candidates],
                **{**fields, "seen": None if seen is None else self._seen(seen)},
            )
        except ValueError as error:
            self._metrics.lost("shown", "invalid")
            now = self._clock()
            if now >= self._next_warning:
                self._next_warning = now + WARNS
                logger.warning("a page is not logged: %s", error)
            return None
        if not self._log.add(record):
            return None
        self._remembered.add(page, items)
        return page

    def foreign(self, page: str, items: Sequence[str]) -> list[str] | None:
        """Returns those of some items that a page did not have; None for an unknown page."""
        return self._remembered.foreign(page, items)

    def feedback(self, feedback: Feedback, known: bool) -> bool:
        """Returns whether feedback will be logged; False if too much waits for the disk.

        Args:
          feedback: The feedback.
          known: Whether its page is remembered.
        """
        if self._log is None or not self._log.add(feedback):
            return False
        events = {
            "click": len(feedback.clicks),
            "dwell": len(feedback.dwell),
            "cart": len(feedback.carts),
            "purchase": len(feedback.purchases),
        }
        self._metrics.feedback(known, events)
        return True

    def close(self) -> None:
        """Writes what waits for the disk; to be called after the last request."""
        if self._log is not None:
            self._log.close()

    def _seen(self, seen: Mapping[str, Any]) -> Seen:
        groups = [v.decode() if isinstance(v, bytes) else str(v) for v in seen["group"]]
        return Seen(
            attraction=seen["attraction"],
            purchase=seen["purchase"],
            dwell=seen["dwell"],
            price=seen["price"],
            vector=seen["vector"] if self._options.vectors else None,
            fingerprint=seen["fingerprint"],
            group=tuple(groups) if any(groups) else None,
        )


def _logged_query(query: Mapping[str, Any]) -> dict[str, str | float]:
    """Returns the features of a query that are texts or finite numbers."""
    texts = {n: v[:MOST_TEXT] for n, v in query.items() if isinstance(v, str)}
    numbers = {
        n: v
        for n, v in query.items()
        if isinstance(v, (int, float)) and not isinstance(v, bool) and -math.inf < v < math.inf
    }
    return {**texts, **numbers}
