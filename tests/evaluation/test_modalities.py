"""The weight of features, on a run whose scores are a sum of known parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import Dataset
from mmrank.evaluation.modalities import modality_weights, weights_table


class SumRun:
    """Scores are twice one column of numbers plus another; a user feature adds a constant."""

    features = ("title", "photo", "user")
    modalities = ("title", "photo")

    def __init__(self, parts: dict[str, np.ndarray]):
        self.parts = parts

    def encode(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        tokens = np.array([[[3.0, 4.0], [9.0, 9.0]], [[6.0, 8.0], [9.0, 9.0]]], np.float32)
        return {"tokens": tokens, "present": np.array([[True, False], [True, False]])}

    def score(self, dataset: Dataset, rows: pd.DataFrame, drop: Sequence[str] = ()) -> np.ndarray:
        kept = [part[rows.index] for name, part in self.parts.items() if name not in drop]
        return np.sum([np.zeros(len(rows)), *kept], axis=0)


@pytest.fixture
def weighed(shop: Callable[..., Dataset]) -> tuple:
    dataset = shop()
    rows = dataset.rows("test")
    draws = np.random.default_rng(0).normal(size=[2, len(dataset.lists)])
    parts = {"title": 2 * draws[0], "photo": draws[1], "user": np.full(len(dataset.lists), 7.0)}
    return parts, rows, modality_weights(SumRun(parts), dataset, rows)


def test_shares_are_the_spreads_of_the_parts_within_lists(weighed):
    parts, rows, weights = weighed
    lists = [np.flatnonzero(rows["list_id"] == i) for i in rows["list_id"].unique()]
    moved = {n: np.mean([np.std(p[rows.index][i]) for i in lists]) for n, p in parts.items()}
    total = sum(moved.values())
    for weight in weights:
        assert weight.share == pytest.approx(moved[weight.name] / total, abs=1e-9)
    assert weights[2].share == pytest.approx(0.0, abs=1e-9)  # a constant does not change the order


def test_norm_and_presence_are_those_of_the_tokens(weighed):
    title, photo, user = weighed[2]
    assert (title.present, title.norm) == (1.0, pytest.approx(7.5))  # (5 + 10) / 2
    assert (photo.present, photo.norm) == (0.0, None)
    assert (user.present, user.norm) == (None, None)


def test_the_table_has_the_heaviest_first(weighed):
    lines = weights_table(weighed[2]).splitlines()
    assert [line.split()[0] for line in lines] == ["feature", "title", "photo", "user"]
    assert "7.50" in lines[1]
