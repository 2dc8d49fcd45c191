"""ROC and precision–recall against scikit-learn, thresholds against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from mmrank.evaluation.curves import at_threshold, best_threshold, curves


@pytest.fixture(params=[4, 1000], ids=["ties", "few ties"])
def rows(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Relevance and scores of 300 candidates."""
    rng = np.random.default_rng(1)
    relevant = rng.random(300) < 0.3
    return relevant, np.round((rng.random(300) + relevant * 0.4) * request.param)


def test_curves_equal_sklearn(rows):
    relevant, scores = rows
    found = curves(relevant, scores, points=10_000)
    false, true, thresholds = roc_curve(relevant, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, false)
    np.testing.assert_allclose(found.recall, true)
    np.testing.assert_allclose(found.threshold[1:], thresholds[1:])
    precision, recall, _ = precision_recall_curve(relevant, scores)
    np.testing.assert_allclose(found.precision, precision[::-1])
    np.testing.assert_allclose(found.recall, recall[::-1])
    assert found.roc_auc == pytest.approx(roc_auc_score(relevant, scores))
    assert found.average_precision == pytest.approx(average_precision_score(relevant, scores))


def test_fewer_points_keep_both_ends_and_the_areas(rows):
    relevant, scores = rows
    every, few = curves(relevant, scores, points=10_000), curves(relevant, scores, points=4)
    assert len(few.recall) == 4
    assert (few.recall[0], few.recall[-1]) == (0, 1)
    assert few.roc_auc == every.roc_auc
    assert few.average_precision == every.average_precision


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.1])
def test_figures_at_a_threshold_equal_sklearn(rows, share):
    relevant, scores = rows
    threshold = share * scores.max()
    found, predicted = at_threshold(relevant, scores, threshold), scores >= threshold
    assert found.accuracy == pytest.approx(accuracy_score(relevant, predicted))
    assert found.recall == pytest.approx(recall_score(relevant, predicted))
    assert found.f1 == pytest.approx(f1_score(relevant, predicted))
    if predicted.any():
        assert found.precision == pytest.approx(precision_score(relevant, predicted))
    else:
        assert np.isnan(found.precision)


def test_the_best_threshold_is_that_of_a_loop(rows):
    relevant, scores = rows
    best = max(f1_score(relevant, scores >= t) for t in np.unique(scores))
    threshold = best_threshold(relevant, scores)
    assert f1_score(relevant, scores >= threshold) == pytest.approx(best)
    assert threshold not in scores  # between two of the scores


def test_candidates_of_one_class_have_no_curve():
    scores = np.array([1.0, 2.0])
    for relevant in ([True, True], [False, False]):
        assert curves(np.array(relevant), scores) is None
    assert best_threshold(np.array([False, False]), scores) is None
    assert best_threshold(np.array([True, True]), scores) == 1.0
