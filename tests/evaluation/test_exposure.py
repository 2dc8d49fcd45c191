from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from mmrank.data.tables import Dataset
from mmrank.evaluation.exposure import exposure, gini
from mmrank.evaluation.offline import evaluate_scores

Shop = Callable[..., Dataset]


def test_gini_by_hand() -> None:
    assert gini(np.array([3.0, 3.0, 3.0])) == 0.0
    assert gini(np.array([0.0, 7.0, 0.0])) == 1.0
    # Half the mean absolute difference of all pairs, divided by the mean: |1-2| = 1, |1-6| = 5 and
    # |2-6| = 4 have mean 10/3; the mean value is 3.
    assert gini(np.array([6.0, 1.0, 2.0])) == pytest.approx(10 / 3 / 6)
    assert np.isnan(gini(np.array([4.0])))
    assert np.isnan(gini(np.zeros(3)))


def test_exposure_of_two_lists() -> None:
    """Lists of twelve and of two candidates: positions below the tenth are not shown."""
    items = np.array([*range(12), 0, 12])
    rank = np.array([*range(1, 13), 1, 2])
    counts = np.array([*[3] * 10, 0, 0, 3, 0])
    found = exposure(items, rank, np.array([0, 12, 14]), counts, catalog=20)
    assert found.coverage == 11 / 20  # items 0 to 9 and 12
    # Appearances of candidates in ascending order: items 10 and 11 none, ten items one, item 0 two.
    appearances = [0, 0, *[1] * 10, 2]
    assert found.gini == pytest.approx(
        sum(abs(a - b) for a in appearances for b in appearances) / (2 * 12 * 12)
    )
    one = np.log(4)
    assert found.popularity == pytest.approx((one + one / 2) / 2)
    assert found.popularity_bias == pytest.approx((1 + 1 / 2) / (10 / 12 + 1 / 2))


def test_exposure_of_scorers_in_the_report(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test")
    score = np.arange(len(rows), dtype=np.float64)
    report = evaluate_scores(dataset, rows, {"model": score, "constant": 0 * score})
    assert set(report.exposure) == {"model", "constant"}
    # Lists of at most three candidates are always shown completely.
    assert report.exposure["model"] == report.exposure["constant"]
    assert report.exposure["model"].coverage == 4 / 5
    assert report.exposure["model"].popularity_bias == 1.0
    assert "coverage" in report.to_text()
    assert json.loads(json.dumps(report.to_dict()))["exposure"]["model"]["coverage"] == 0.8


def test_a_slice_is_compared_too_and_an_empty_one_is_named(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test")
    score = np.arange(len(rows), dtype=np.float64)
    report = evaluate_scores(dataset, rows, {"model": score, "reverse": -score})
    parts = {part.name: part for part in report.slices}
    assert parts["middle items"].lists == 0
    assert "middle items" in report.to_text()
    (comparison,) = parts["rare items"].comparisons
    (whole,) = (c for c in report.comparisons if c.metric == "ndcg@10")
    assert comparison == whole  # every item of this shop is rare
