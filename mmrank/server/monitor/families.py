"""Counters, gauges and histograms by labels, cheap enough to be updated during a request.

prometheus_client's own classes require names of counters to end in `_total`, which TensorFlow
Serving's names do not. They also take one value at a time, while a request has a thousand scores.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from prometheus_client.core import Metric

Labels = tuple[str, ...]


class Tally:
    """A number by labels: a counter that grows, or a gauge that is set.

    Args:
      name: The metric's full name. A counter whose name does not end in `_total` is reported as
        `untyped`.
      text: The metric's description.
      labels: Names of its labels.
      kind: counter or gauge.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        kind: Literal["counter", "gauge"] = "counter",
    ):
        self.name, self.text, self.labels, self.kind = name, text, tuple(labels), kind
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        """Adds to the number with these labels."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def set(self, labels: Labels, value: float) -> None:
        """Sets the number with these labels."""
        with self._lock:
            self._values[labels] = value

    def drop(self, which: Callable[[Labels], bool]) -> None:
        """Removes the numbers whose labels match, such as those of an unloaded version."""
        with self._lock:
            self._values = {k: v for k, v in self._values.items() if not which(k)}

    def collect(self) -> Iterator[Metric]:
        """Yields the metric family for prometheus_client to write."""
        total = self.name.endswith("_total")
        kind = "unknown" if self.kind == "counter" and not total else self.kind
        family = Metric(self.name.removesuffix("_total"), self.text, kind)
        with self._lock:
            values = dict(self._values)
        for labels, value in values.items():
            family.add_sample(self.name, dict(zip(self.labels, labels, strict=True)), value)
        yield family


class Histogram:
    """The number of values up to each bound, by labels.

    Args:
      name: The metric's full name.
      text: The metric's description, with its unit.
      labels: Names of its labels.
      bounds: Ascending upper bounds, each inclusive; +Inf is added.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]):
        self.name, self.text, self.labels = name, text, tuple(labels)
        self.bounds = np.asarray(bounds, np.float64)
        self._bisect = self.bounds.tolist()
        self._counts: dict[Labels, np.ndarray] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, labels: Labels, value: float) -> None:
        """Counts one value."""
        at = bisect.bisect_left(self._bisect, value)
        with self._lock:
            self._of(labels)[at] += 1
            self._sums[labels] += value

    def observe_all(self, labels: Labels, values: np.ndarray) -> None:
        """Counts values of any shape, except those that are not finite."""
        values = values[np.isfinite(values)]
        found = np.searchsorted(self.bounds, values, side="left")
        counts = np.bincount(found, minlength=len(self.bounds) + 1)
        with self._lock:
            self._of(labels)[:] += counts
            self._sums[labels] += float(values.sum(dtype=np.float64))

    def drop(self, which: Callable[[Labels], bool]) -> None:
        """Removes the values whose labels match, such as those of an unloaded version."""
        with self._lock:
            self._counts = {k: v for k, v in self._counts.items() if not which(k)}
            self._sums = {k: v for k, v in self._sums.items() if not which(k)}

    def collect(self) -> Iterator[Metric]:
        """Yields the metric family for prometheus_client to write."""
        with self._lock:
            held = [(k, c.cumsum(), self._sums[k]) for k, c in self._counts.items()]
        family = Metric(self.name, self.text, "histogram")
        ends = [*(f"{b:g}" for b in self._bisect), "+Inf"]
        for values, cumulated, total in held:
            labels = dict(zip(self.labels, values, strict=True))
            for end, count in zip(ends, cumulated, strict=True):
                family.add_sample(f"{self.name}_bucket", {**labels, "le": end}, float(count))
            family.add_sample(f"{self.name}_sum", labels, total)
            family.add_sample(f"{self.name}_count", labels, float(cumulated[-1]))
        yield family

    def _of(self, labels: Labels) -> np.ndarray:
        if labels not in self._counts:
            self._counts[labels] = np.zeros(len(self.bounds) + 1, np.int64)
            self._sums[labels] = 0.0
        return self._counts[labels]
