from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmrank.evaluation.confidence import (
    Threshold,
    find_thresholds,
    given_grades,
    precision_bound,
)


@pytest.mark.parametrize(("hits", "rows"), [(0, 5), (3, 5), (5, 5), (90, 100)])
def test_the_bound_is_that_of_clopper_and_pearson(hits: int, rows: int) -> None:
    """P(at least that many hits | share = bound) equals the error, by the binomial distribution."""
    bound = float(precision_bound(np.array([hits]), np.array([rows]), 0.05)[0])
    if hits == 0:
        assert bound == 0.0
    else:
        assert stats.binom.sf(hits - 1, rows, bound) == pytest.approx(0.05)
    if hits == rows:
        assert bound == pytest.approx(0.05 ** (1 / rows))


def test_thresholds_of_a_clear_case() -> None:
    """Scores 0 to 999: irrelevant below 500, grade 1 up to 799, grade 3 above."""
    scores = np.random.default_rng(0).permutation(1000).astype(np.float64)
    grades = np.select([scores < 500, scores < 800], [0.0, 1.0], 3.0)
    found = find_thresholds(scores, grades, 0.9, steps=1000)
    assert [t.grade for t in found] == [0.0, 1.0, 3.0]
    error = 0.05 / 3000
    for threshold, sign in zip(found, (-1, 1, 1), strict=True):
        beyond = sign * scores >= sign * threshold.score
        right = grades == 0 if threshold.grade == 0 else grades >= threshold.grade
        assert threshold.rows == beyond.sum()
        # The range is as wide as the bound allows: with one more score the bound would be violated.
        for rows, holds in ((beyond, True), (sign * scores >= sign * threshold.score - 1, False)):
            bound = precision_bound((right & rows).sum(), rows.sum(), error)
            assert (bound >= 0.9) == holds


def test_noise_does_not_get_a_grade() -> None:
    rng = np.random.default_rng(1)
    assert find_thresholds(rng.random(500), rng.integers(0, 3, 500).astype(float), 0.9) == []


def test_few_judgements_are_not_enough() -> None:
    """With ten of ten right, the bound at an error of 0.05 / 20 is 0.0025^0.1 = 0.55."""
    scores = np.r_[np.arange(10.0), 10 + np.arange(10.0)]
    grades = np.repeat([0.0, 1.0], 10)
    assert find_thresholds(scores, grades, 0.9) == []
    assert {t.grade for t in find_thresholds(scores, grades, 0.5)} == {0.0, 1.0}


def test_the_bound_holds_on_fresh_candidates() -> None:
    """The score is the probability of relevance: precision above s is (1 + s) / 2."""
    rng = np.random.default_rng(2)
    scores = rng.random(4000)
    found = find_thresholds(scores, (rng.random(4000) < scores).astype(float), 0.8)
    (one,) = (t for t in found if t.grade == 1)
    assert (1 + one.score) / 2 >= 0.8
    assert one.score < 0.8


def test_grades_given() -> None:
    thresholds = [Threshold(0, 1.0, 0.9, 9), Threshold(1, 2.0, 0.9, 9), Threshold(3, 4.0, 0.9, 9)]
    given = given_grades(np.array([0.5, 1.0, 1.5, 2.0, 3.9, 4.0]), thresholds)
    np.testing.assert_array_equal(given, [0, 0, np.nan, 1, 1, 3])
    crossed = [Threshold(0, 3.0, 0.9, 9), Threshold(1, 2.0, 0.9, 9)]
    given = given_grades(np.array([1.0, 2.5, 3.5]), crossed)
    np.testing.assert_array_equal(given, [0, np.nan, 1])
