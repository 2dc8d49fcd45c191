"""The missing-modality curve, on runs whose scores depend on what is hidden from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log2

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import Dataset
from mmrank.evaluation.missing import MissingCurve, missing_curve, taken


class GradeRun:
    """Scores an item by its grade while its photo is available; without it, last and reversed."""

    features = ("title", "photo")

    def has(self, dataset: Dataset, modality: str) -> np.ndarray:
        return np.array([True, True, True, True, False])

    def score(
        self,
        dataset: Dataset,
        rows: pd.DataFrame,
        hidden: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        gone = (hidden or {"photo": np.zeros(5, bool)})["photo"][rows["_item"].to_numpy()]
        return np.where(gone, -1.0 - rows["grade"], rows["grade"])


class BlindRun:
    """Reads no photos and reverses every list."""

    features = ("title",)

    def score(self, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
        return -rows["grade"].to_numpy(float)


@pytest.fixture
def curve(shop: Callable[..., Dataset]) -> MissingCurve:
    dataset = shop()
    runs = {"full": GradeRun(), "blind": BlindRun()}
    return missing_curve(runs, dataset, dataset.rows("test"), "photo", (0.0, 1.0))


def test_ndcg_is_perfect_with_all_photos_and_reversed_without(curve):
    # Test lists have grades 2 0 1 and 0 3 0; the third has no relevant item and is skipped.
    # Reversed, the first has gains 0, 1 (grade 1), 3 (grade 2) at discounts 1, log2(3), 2. In the
    # second, of items b, c and e, grade 3 comes last; e has no photo to lose and keeps grade 0.
    first = (1 / log2(3) + 3 / 2) / (3 + 1 / log2(3))
    assert curve.points["full"][0].mean == pytest.approx(1.0)
    assert curve.points["blind"][0].mean == pytest.approx((first + 1 / 2) / 2)
    assert curve.points["full"][1].mean == pytest.approx((first + 1 / 2) / 2)


def test_a_run_without_the_modality_is_constant(curve):
    blind = curve.points["blind"]
    assert blind[0] == blind[1]


def test_removed_items_grow_and_have_the_modality():
    has = np.array([True, False, True, True, False, True, True, False])
    order = np.array([7, 6, 5, 4, 3, 2, 1, 0])
    # Items with the modality, in that order: 6 5 3 2 0. Half of five is rounded to two (even).
    assert np.flatnonzero(taken(has, order, 0.5)).tolist() == [5, 6]
    assert np.flatnonzero(taken(has, order, 0.8)).tolist() == [2, 3, 5, 6]
    assert not taken(has, order, 0.0).any()
    np.testing.assert_array_equal(taken(has, order, 1.0), has)


def test_the_plot_is_a_picture(curve, tmp_path):
    curve.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "100%" in curve.to_text()
