"""Drift of requests against the training data, over a sliding window of time."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mmrank.server.monitor.config import Drift
from mmrank.serving.drift.reference import Reference
from mmrank.serving.drift.stability import stability_index

SLOTS = 12  # per window; the oldest slot is dropped as a whole
# Of a request with more values, only every n-th value is read, and counts n times.
MOST_VALUES = 64
Key = tuple[str, str]  # feature and measure


@dataclasses.dataclass
class _Slot:
    number: int
    counts: dict[Key, np.ndarray]
    requests: collections.Counter[str]


class DriftWatch:
    """Counts the features of requests in the bins of the training data, and compares the two.

    As a collector of prometheus_client it reports

        mmrank_feature_values_total{feature,measure,bin}   all values since the start
        mmrank_feature_psi{feature,measure}                of the window, if enough requests held it
        mmrank_feature_psi_threshold{feature,measure}      the threshold of each index
        mmrank_feature_window_requests{feature}            requests of the window that held it

    Args:
      limits: Window and thresholds.
      clock: Returns monotonic time in seconds.
    """

    def __init__(self, limits: Drift, clock: Callable[[], float] = time.monotonic):
        self._limits, self._clock = limits, clock
        self._reference = Reference(())
        self._lock = threading.Lock()
        self._slots: collections.deque[_Slot] = collections.deque()
        self._totals: dict[Key, np.ndarray] = {}

    def use(self, reference: Reference | None) -> None:
        """Compares with another version's training data from now on; with None, counts nothing.

        Earlier counts are kept if the bins of the training data are the same, and otherwise
        removed.
        """
        reference = reference or Reference(())
        with self._lock:
            if tuple(reference.bins) != tuple(self._reference.bins):
                self._reference = reference
                self._slots.clear()
                self._totals.clear()

    def feature(self, name: str, values: np.ndarray, present: np.ndarray) -> None:
        """Counts a feature's raw values [N] and flags [N] in one request.

        Values have the dtype that a signature takes. Features without a reference are ignored.
        """
        reference = self._reference
        measures = reference.of(name)
        if not measures or not len(values):
            return
        step = -(-len(values) // MOST_VALUES)
        values, present = values[::step], present[::step]
        counted = [(b, b.count(values, present) * step) for b in measures]
        with self._lock:
            if reference is not self._reference:
                return  # the reference was replaced meanwhile
            slot = self._slot()
            slot.requests[name] += 1
            for bins, counts in counted:
                key = (name, bins.measure)
                for held in (slot.counts, self._totals):
                    held[key] = held[key] + counts if key in held else counts

    def indices(self) -> dict[Key, float]:
        """Returns the population stability index of every measure that enough requests held."""
        with self._lock:
            counts, requests = self._window()
            bins = {(b.feature, b.measure): b for b in self._reference.bins}
        enough = {k: c for k, c in counts.items() if requests[k[0]] >= self._limits.min_requests}
        return {k: stability_index(np.array(bins[k].expected), c) for k, c in enough.items()}

    def collect(self) -> Iterator[Metric]:
        """Yields the metric families listed in the class's docstring."""
        indices = self.indices()
        with self._lock:
            totals = {k: c.copy() for k, c in self._totals.items()}
            bins = {(b.feature, b.measure): b for b in self._reference.bins}
            _, requests = self._window()
        names = ["feature", "measure"]
        values = CounterMetricFamily(
            "mmrank_feature_values", "Values in requests, by bin.", labels=[*names, "bin"]
        )
        for key, counts in totals.items():
            for label, count in zip(bins[key].labels, counts, strict=True):
                values.add_metric([*key, label], float(count))
        psi = GaugeMetricFamily(
            "mmrank_feature_psi", "Population stability index over the window.", labels=names
        )
        limit = GaugeMetricFamily(
            "mmrank_feature_psi_threshold",
            "Population stability index above which a feature has drifted.",
            labels=names,
        )
        for key, index in indices.items():
            psi.add_metric(list(key), index)
            limit.add_metric(list(key), self._limits.limit(key[0]))
        seen = GaugeMetricFamily(
            "mmrank_feature_window_requests", "Requests in the window.", labels=["feature"]
        )
        for name, count in requests.items():
            seen.add_metric([name], float(count))
        yield from (values, psi, limit, seen)

    def _slot(self) -> _Slot:
        number = int(self._clock() / self._seconds())
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number, {}, collections.Counter()))
        self._forget(number)
        return self._slots[-1]

    def _window(self) -> tuple[dict[Key, np.ndarray], collections.Counter[str]]:
        """Returns the whole window's counts by measure, and its requests by feature."""
        self._forget(int(self._clock() / self._seconds()))
        counts: dict[Key, np.ndarray] = {}
        requests: collections.Counter[str] = collections.Counter()
        for slot in self._slots:
            requests.update(slot.requests)
            for key, part in slot.counts.items():
                counts[key] = counts[key] + part if key in counts else part
        return counts, requests

    def _forget(self, number: int) -> None:
        while self._slots and self._slots[0].number <= number - SLOTS:
            self._slots.popleft()

    def _seconds(self) -> float:
        return self._limits.window_minutes * 60 / SLOTS
