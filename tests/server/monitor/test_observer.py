"""What requests say of features and modalities, by signature; a card written by hand."""

from __future__ import annotations

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


class Told(Metrics):
    """Metrics that remember what they were told."""

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
def told() -> Told:
    return Told()


@pytest.fixture
def observer(told: Told, folder: pathlib.Path) -> Observer:
    made = Observer(told, Drift(per_second=1e9))
    made.take_up(folder)
    return made


def texts(*values: str | bytes) -> np.ndarray:
    return np.array(values, object)


def test_raw_candidates_without_their_padding(observer: Observer, told: Told) -> None:
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
    assert told.features["query"] == (["red", ""], [True, False])
    assert told.features["price"] == ([1, 2, 4], [True, False, True])
    assert told.shares == {"price": pytest.approx(1 / 3)}
    assert told.features["history"] == ([1, 0], [True, False])
    assert told.scored == {7: 6}


@pytest.mark.parametrize("empty", ["", b""])
def test_candidates_by_id(observer: Observer, told: Told, empty: str | bytes) -> None:
    item = "P1" if empty == "" else b"P1"
    observer.features(
        {
            "items": np.array([[item, empty], [item, item]], object),
            "overlap": np.array([[1.0, 9], [2, 3]]),
            "overlap_present": np.ones([2, 2], bool),
        }
    )
    assert told.features == {"overlap": ([1, 2, 3], [True] * 3)}
    assert not told.shares


def test_embeddings_say_which_modalities_are_there(observer: Observer, told: Told) -> None:
    present = np.array([[[1, 0], [1, 1], [1, 1]]], bool)
    observer.features(
        {
            "tokens": np.zeros([1, 3, 2, 4], np.float32),
            "present": present,
            "list_length": np.array([2]),
            "history_known": np.array([[True, True, False]]),
        }
    )
    assert told.shares == {"price": 0.0, "photo": 0.5}
    assert told.features["history"] == ([2], [True])


def test_items_to_be_encoded(observer: Observer, told: Told) -> None:
    observer.features({"photo": texts(b"x", b""), "photo_present": np.array([True, False])})
    assert told.shares == {"photo": 0.5}


def test_so_many_a_second(told: Told, folder: pathlib.Path) -> None:
    now = [0.0]
    observer = Observer(told, Drift(per_second=2.0), clock=lambda: now[0])
    observer.take_up(folder)
    request = {"query": texts("red"), "query_present": np.array([True])}
    seen = []
    for now[0] in (0.0, 0.2, 0.4, 0.6, 1.0, 1.2):
        told.features.clear()
        observer.features(request)
        seen.append("query" in told.features)
    assert seen == [True, False, False, True, False, True]


def test_a_model_of_somebody_else(told: Told, tmp_path: pathlib.Path) -> None:
    observer = Observer(told, Drift(per_second=1e9))
    observer.take_up(tmp_path / "nothing")
    observer.reply(1, {"x": np.ones([1, 2])}, {"scores": np.ones([1, 2])})
    assert told.scored == {1: 2}
    assert not told.features
