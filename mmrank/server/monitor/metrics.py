"""The server's metrics: those of TensorFlow Serving, and further ones for rankers.

The metrics of TensorFlow Serving (`servables/tensorflow/util.cc`) keep their names, labels, units
and buckets, so that a dashboard works with either server:

    :tensorflow:serving:request_count{model_name,status}
    :tensorflow:serving:request_latency{model_name,API,entrypoint}      microseconds
    :tensorflow:serving:runtime_latency{model_name,API,runtime}         microseconds
    :tensorflow:cc:saved_model:load_attempt_count{model_path,status}
    :tensorflow:cc:saved_model:load_latency{model_path}                 microseconds

The names of the others begin with `mmrank_`. The number of label values is bounded: the name of a
model of which no version was ever loaded counts as `unknown`, and the numbers of an unloaded
version are removed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from mmrank.server.monitor.families import Histogram, Tally

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MICROSECONDS = 1e6
# TensorFlow Serving's 33 buckets: from 10 µs by factors of 1.8, the last without an upper bound.
LATENCY = [10.0 * 1.8**i for i in range(32)]
SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
SCORES = [-50, -20, -10, -5, -2, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
SHARES = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]
PADDING = -1e8  # signatures give padding, which is not a candidate, a score of −1e9
UNKNOWN = "unknown"
END = "END"
# Methods that run a model. Status and metadata, which probes request often, are left out of the
# counts of requests, since they would hide failures of the model.
CALLS = ("predict", "classify", "regress", "multiinference", "rank")
# TensorFlow Serving's states of a version.
STATES = ("START", "LOADING", "AVAILABLE", "UNLOADING", END)
FeatureHook = Callable[[str, np.ndarray, np.ndarray], None]


class Metrics:
    """All metrics of the server. Every method may be called from any thread, and none blocks.

    Attributes:
      registry: The registry, where further collectors can be registered.
      on_feature: Called with the arguments of `feature`, flattened; set by drift monitoring.

    Example:
      >>> metrics = Metrics()
      >>> metrics.version_state("shop", 3, "AVAILABLE")
      >>> metrics.request("shop", 3, "predict", "OK", seconds=0.004)
      >>> lines = metrics.page().decode().splitlines()
      >>> [line for line in lines if line.startswith("mmrank_requests_total")]
      ['mmrank_requests_total{...} 1.0']
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.on_feature: FeatureHook | None = None
        self._models: set[str] = set()
        self._lock = threading.Lock()
        ProcessCollector(registry=self.registry)  # resident memory, open files, CPU seconds
        tf_serving, saved_model = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
        self._count = self._tally(
            f"{tf_serving}request_count", "The total number of requests.", "model_name", "status"
        )
        self._latency = self._histogram(
            f"{tf_serving}request_latency",
            "Wall time of a request in microseconds.",
            LATENCY,
            "model_name",
            "API",
            "entrypoint",
        )
        self._runtime = self._histogram(
            f"{tf_serving}runtime_latency",
            "Wall time inside the TensorFlow runtime in microseconds.",
            LATENCY,
            "model_name",
            "API",
            "runtime",
        )
        self._loads = self._tally(
            f"{saved_model}load_attempt_count",
            "How often a SavedModel was loaded.",
            "model_path",
            "status",
        )
        self._load_time = self._tally(
            f"{saved_model}load_latency", "Microseconds spent loading SavedModels.", "model_path"
        )
        self._by_version = self._tally(
            "mmrank_requests_total",
            "Requests by version, for judging a canary.",
            "model_name",
            "version",
            "method",
            "status",
        )
        self._seconds = self._histogram(
            "mmrank_request_seconds",
            "Wall time of a request in seconds, by version.",
            SECONDS,
            "model_name",
            "version",
            "method",
        )
        self._scores = self._histogram(
            "mmrank_score", "Scores of candidates, without padding.", SCORES, "version"
        )
        self._features = self._tally(
            "mmrank_feature_present_total",
            "Values of a feature in requests, by whether they were present.",
            "feature",
            "present",
        )
        self._caches = self._tally(
            "mmrank_cache_requests_total", "Cache lookups.", "cache", "outcome"
        )
        self._absent = self._histogram(
            "mmrank_modality_absent_share",
            "Share of a request's candidates that lack a modality.",
            SHARES,
            "modality",
        )
        self._queue = self._tally(
            "mmrank_queue_depth", "Requests waiting for a batch.", kind="gauge"
        )
        self._states = self._tally(
            "mmrank_model_version_state",
            "1 for the current state of a version.",
            "model_name",
            "version",
            "state",
            kind="gauge",
        )

    def request(
        self,
        model: str,
        version: int | None,
        method: str,
        status: str,
        seconds: float,
        entrypoint: str = "REST",
    ) -> None:
        """Counts one answered request, including refused ones.

        Args:
          model: Name of the requested model.
          version: The version that answered; None if no version did.
          method: The called method. TensorFlow Serving writes predict, regress and classify for
            REST, and Predict, Regress and Classify for gRPC. The method of /rank is rank.
          status: The canonical code's name, such as OK or INVALID_ARGUMENT.
          seconds: Time from the first byte read until the reply was made.
          entrypoint: REST or GRPC.
        """
        name, number = self._known(model), "" if version is None else str(version)
        if method.lower() in CALLS:
            self._count.add((name, status))
            self._latency.observe((name, method, entrypoint), seconds * MICROSECONDS)
        self._by_version.add((name, number, method, status))
        self._seconds.observe((name, number, method), seconds)

    def runtime(self, model: str, method: str, seconds: float) -> None:
        """Counts one run of TensorFlow, which may be for several requests in a batch."""
        self._runtime.observe((self._known(model), method, "TF2"), seconds * MICROSECONDS)

    def load(self, path: str, ok: bool, seconds: float) -> None:
        """Counts one attempt to load the version in a folder."""
        self._loads.add((path, "success" if ok else "fail"))
        self._load_time.add((path,), seconds * MICROSECONDS)

    def scores(self, values: np.ndarray, version: int | None = None) -> None:
        """Counts the scores of candidates, of any shape, without those of padding (−1e9)."""
        values = np.asarray(values, np.float64)
        number = "" if version is None else str(version)
        self._scores.observe_all((number,), values[values > PADDING])

    def feature(self, name: str, values: np.ndarray, present: np.ndarray) -> None:
        """Counts a feature's values in a request.

        Args:
          name: A feature of the schema; never a name that a client made up.
          values: Raw values, of any shape, without padding.
          present: Whether each value is present, of the same shape.
        """
        there = int(np.count_nonzero(present))
        self._features.add((name, "true"), there)
        self._features.add((name, "false"), np.size(present) - there)
        if self.on_feature is not None:
            self.on_feature(name, np.asarray(values).ravel(), np.asarray(present).ravel())

    def cache(self, name: str, hit: bool, count: int = 1) -> None:
        """Counts look-ups in a cache, such as `queries` or `items`."""
        self._caches.add((name, "hit" if hit else "miss"), count)

    def absent(self, modality: str, share: float) -> None:
        """Counts the share of a request's candidates that lack a modality, from 0 to 1."""
        self._absent.observe((modality,), share)

    def queue(self, depth: int) -> None:
        """Sets the number of requests that wait."""
        self._queue.set((), depth)

    def version_state(self, model: str, version: int, state: str) -> None:
        """Sets which of `STATES` a version is in. With END, the version's numbers are removed."""
        number = str(version)
        with self._lock:
            self._models.add(model)
        self._states.drop(lambda labels: labels[:2] == (model, number))
        if state == END:
            self._by_version.drop(lambda labels: labels[:2] == (model, number))
            self._seconds.drop(lambda labels: labels[:2] == (model, number))
            self._scores.drop(lambda labels: labels == (number,))
        else:
            self._states.set((model, number, state), 1)

    def page(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _known(self, model: str) -> str:
        return model if model in self._models else UNKNOWN

    def _tally(self, name: str, text: str, *labels: str, kind: str = "counter") -> Tally:
        made = Tally(name, text, labels, "gauge" if kind == "gauge" else "counter")
        self.registry.register(made)
        return made

    def _histogram(self, name: str, text: str, bounds: list[float], *labels: str) -> Histogram:
        made = Histogram(name, text, labels, bounds)
        self.registry.register(made)
        return made
