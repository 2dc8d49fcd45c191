"""Counts of features and modalities by signature, with a card written by hand."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.monitor.observer import Observer
from mmrank.serving.card import CARD, FORMAT
from mmrank.serving.drift.bins import Bins
from mmrank.serving.drift.reference import FILE, Reference


class RecordedMetrics(Metrics):
    """Metrics that record the values they receive."""

    def __init__(self) -> None:
        super().__init__()
        self.features: dict[str, tuple[list[Any], list[bool]]] = {}
        self.shares: dict[str, float] = {}
        self.scored: Counter[int | None] = Counter()

    def feature(self, name: str, values: np.ndarray, present: np.ndarray) -> None:
        self.features[name] = (values.tolist(), present.tolist())

    def absent(self, modality: str, share: float) -> None:
        self.shares[modality] = share

    def scores(self, values: np.ndarray, version: int | None = None) -> None:
        self.scored[version] += values.size


@dataclasses.dataclass
class Version:
    """The attributes of a servable that the observer reads."""

    number: int
    folder: pathlib.Path


def column(name: str, kind: str, side: str, dtype: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "side": side, "dtype": dtype, "media": kind == "image"}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    card = {
        "format": FORMAT,
        "features": [
            column("query", "text", "query", "string"),
            column("price", "number", "item", "float32"),
            column("photo", "image", "item", "string"),
            column("overlap", "number", "pair", "float32"),
        ],
        "history": {"name": "history", "length": 4, "types": ["click"]},
    }
    (tmp_path / CARD).parent.mkdir()
    (tmp_path / CARD).write_text(json.dumps(card), encoding="utf-8")
    return tmp_path


@pytest.fixture
def recorded() -> RecordedMetrics:
    return RecordedMetrics()


@pytest.fixture
def observer(recorded: RecordedMetrics, folder: pathlib.Path) -> Observer:
    made = Observer(recorded, Drift(per_second=1e9))
    made.on_load(Version(7, folder))
    return made


def texts(*values: str | bytes) -> np.ndarray:
    return np.array(values, object)


def test_raw_candidates_without_their_padding(
    observer: Observer, recorded: RecordedMetrics
) -> None:
    there = np.array([[True, False, True], [True, True, True]])
    observer.reply(
        7,
        {
            "query": texts("red", ""),
            "query_present": np.array([True, False]),
            "price": np.array([[1.0, 2, 9], [4, 9, 9]]),
            "price_present": there,
            "history_items": np.array([["a", "", "", "", ""], ["", "", "", "", ""]], object),
            "list_length": np.array([2, 1], np.int32),
        },
        {"scores": np.zeros([2, 3])},
    )
    assert recorded.features["query"] == (["red", ""], [True, False])
    assert recorded.features["price"] == ([1, 2, 4], [True, False, True])
    assert recorded.shares == {"price": pytest.approx(1 / 3)}
    assert recorded.features["history"] == ([1, 0], [True, False])
    assert recorded.scored == {7: 6}


@pytest.mark.parametrize("empty", ["", b""])
def test_candidates_by_id(
    observer: Observer, recorded: RecordedMetrics, empty: str | bytes
) -> None:
    item = "P1" if empty == "" else b"P1"
    observer.features(
        7,
        {
            "items": np.array([[item, empty], [item, item]], object),
            "overlap": np.array([[1.0, 9], [2, 3]]),
            "overlap_present": np.ones([2, 2], bool),
        },
    )
    assert recorded.features == {"overlap": ([1, 2, 3], [True] * 3)}
    assert not recorded.shares


def test_embeddings_report_which_modalities_are_present(
    observer: Observer, recorded: RecordedMetrics
) -> None:
    present = np.array([[[1, 0], [1, 1], [1, 1]]], bool)
    observer.features(
        7,
        {
            "tokens": np.zeros([1, 3, 2, 4], np.float32),
            "present": present,
            "list_length": np.array([2]),
            "history_known": np.array([[True, True, False]]),
        },
    )
    assert recorded.shares == {"price": 0.0, "photo": 0.5}
    assert recorded.features["history"] == ([2], [True])


def test_items_to_be_encoded(observer: Observer, recorded: RecordedMetrics) -> None:
    observer.features(7, {"photo": texts(b"x", b""), "photo_present": np.array([True, False])})
    assert recorded.shares == {"photo": 0.5}


def test_samples_are_limited_per_second(recorded: RecordedMetrics, folder: pathlib.Path) -> None:
    now = [0.0]
    observer = Observer(recorded, Drift(per_second=2.0), clock=lambda: now[0])
    observer.on_load(Version(7, folder))
    request = {"query": texts("red"), "query_present": np.array([True])}
    seen = []
    for now[0] in (0.0, 0.2, 0.4, 0.6, 1.0, 1.2):
        recorded.features.clear()
        observer.features(7, request)
        seen.append("query" in recorded.features)
    assert seen == [True, False, False, True, False, True]


def test_a_foreign_model_is_not_observed(recorded: RecordedMetrics, tmp_path: pathlib.Path) -> None:
    observer = Observer(recorded, Drift(per_second=1e9))
    observer.on_load(Version(1, tmp_path / "nothing"))
    observer.reply(1, {"x": np.ones([1, 2])}, {"scores": np.ones([1, 2])})
    assert recorded.scored == {1: 2}
    assert not recorded.features


def version(number: int, folder: pathlib.Path, edge: float, *names: str) -> Version:
    """A version that reads numbers of the query and has two bins of the price, split at `edge`."""
    features = [column(name, "number", "query", "float32") for name in names]
    card = {"format": FORMAT, "features": features, "history": None}
    file = folder / str(number) / CARD
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(card), encoding="utf-8")
    Reference((Bins("price", "value", (edge,), (0, 5, 5)),)).save(file.parent / FILE)
    return Version(number, folder / str(number))


def priced(price: float) -> dict[str, np.ndarray]:
    there = np.array([True])
    given = {"price": np.array([price], np.float32), "age": np.array([1.0], np.float32)}
    return given | {"price_present": there, "age_present": there}


def counted(metrics: Metrics) -> dict[str, float]:
    """The drift watch's counts of the price by bin, without empty bins."""
    return {
        sample.labels["bin"]: sample.value
        for family in metrics.registry.collect()
        if family.name == "mmrank_feature_values"
        for sample in family.samples
        if sample.value
    }


def test_features_are_read_by_the_card_of_the_version_that_answered(
    recorded: RecordedMetrics, tmp_path: pathlib.Path
) -> None:
    observer = Observer(recorded, Drift(per_second=1e9))
    first, other = version(1, tmp_path, 1.0, "price"), version(2, tmp_path, 1.0, "age")
    observer.on_load(first)
    observer.on_load(other)
    observer.features(1, priced(3.0))
    assert set(recorded.features) == {"price"}
    observer.features(2, priced(3.0))
    assert set(recorded.features) == {"price", "age"}
    observer.on_unload(first)
    recorded.features.clear()
    observer.features(1, priced(3.0))
    assert not recorded.features


def test_drift_is_of_the_highest_version_loaded(tmp_path: pathlib.Path) -> None:
    metrics = Metrics()
    observer = Observer(metrics, Drift(per_second=1e9))
    high, low = version(5, tmp_path, 10.0, "price"), version(4, tmp_path, 20.0, "price")
    observer.on_load(high)
    observer.on_load(low)  # an older version, for example one with a label
    observer.features(5, priced(1.0))
    observer.features(4, priced(99.0))
    observer.features(5, priced(12.0))
    assert counted(metrics) == {"<= 10": 1, "> 10": 1}
    again = Version(5, high.folder)
    observer.on_load(again)  # loaded again before the old one is unloaded
    observer.on_unload(high)
    assert counted(metrics) == {"<= 10": 1, "> 10": 1}
    observer.on_unload(again)
    observer.features(4, priced(12.0))
    observer.features(5, priced(12.0))
    assert counted(metrics) == {"<= 20": 1}
    observer.on_unload(low)
    assert not counted(metrics)
