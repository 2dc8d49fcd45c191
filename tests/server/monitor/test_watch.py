"""Drift over a sliding window, with a clock that the test sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.watch import DriftWatch
from mmrank.serving.drift.bins import Bins
from mmrank.serving.drift.reference import Reference

PRICE = Bins("price", "value", edges=(10.0,), expected=(0, 500, 500))
TAGS = Bins("tags", "count", edges=(1.0,), separator="|", expected=(100, 800, 100))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> DriftWatch:
    made = DriftWatch(Drift(window_minutes=1, min_requests=2, features={"tags": 0.1}), clock)
    made.use(Reference((PRICE, TAGS)))
    return made


def send(watch: DriftWatch, cheap: int, dear: int) -> None:
    values = np.array([1.0] * cheap + [99.0] * dear)
    watch.feature("price", values, np.ones(len(values), bool))


def test_index_of_similar_and_of_shifted_requests(watch: DriftWatch, clock: Clock) -> None:
    send(watch, 3, 3)
    send(watch, 2, 2)
    assert watch.indices()["price", "value"] == pytest.approx(0)
    clock.now = 120  # after the end of the window
    send(watch, 3, 1)
    send(watch, 3, 1)
    assert watch.indices()["price", "value"] == pytest.approx(0.25 * math.log(3))


def test_too_few_requests_are_not_judged(watch: DriftWatch) -> None:
    send(watch, 60, 0)
    assert not watch.indices()


def test_the_window_slides(watch: DriftWatch, clock: Clock) -> None:
    send(watch, 4, 0)
    clock.now = 30
    send(watch, 0, 4)
    assert watch.indices()["price", "value"] == pytest.approx(0)
    clock.now = 65  # only the second request is still within the window
    assert not watch.indices()


def test_a_long_list_counts_by_its_length(watch: DriftWatch) -> None:
    watch.feature("price", np.repeat([1.0, 99.0], 500), np.ones(1000, bool))
    send(watch, 0, 10)
    (family, *_) = watch.collect()
    by_bin = {s.labels["bin"]: s.value for s in family.samples}
    # Every 16th of 1,000 is counted with weight 16: 63 · 16 = 1,008, evenly spread.
    assert by_bin == {"absent": 0, "<= 10": 32 * 16, "> 10": 31 * 16 + 10}


def test_the_same_training_data_keeps_the_counts(watch: DriftWatch) -> None:
    send(watch, 1, 1)
    watch.use(Reference((PRICE, TAGS)))
    send(watch, 1, 1)
    assert ("price", "value") in watch.indices()
    watch.use(Reference((PRICE,)))
    send(watch, 1, 1)
    assert not watch.indices()
    watch.use(None)
    send(watch, 1, 1)
    assert not watch.indices()


def test_an_unwatched_feature_is_ignored(watch: DriftWatch) -> None:
    watch.feature("nothing", np.ones(3), np.ones(3, bool))
    watch.feature("price", np.ones(0), np.ones(0, bool))
    assert not watch.indices()


def test_collected_metrics(watch: DriftWatch) -> None:
    for _ in range(2):
        watch.feature("tags", np.array(["a|b", b"c"], object), np.ones(2, bool))
    samples = [s for family in watch.collect() for s in family.samples]
    found = {(s.name, s.labels.get("bin")): s.value for s in samples}
    assert found["mmrank_feature_values_total", "<= 1"] == 2
    assert found["mmrank_feature_values_total", "> 1"] == 2
    assert found["mmrank_feature_psi_threshold", None] == 0.1
    assert found["mmrank_feature_window_requests", None] == 2
    assert found["mmrank_feature_psi", None] > 0.1
