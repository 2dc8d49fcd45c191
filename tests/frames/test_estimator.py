"""The estimator: scikit-learn's own checks, groups, and learning an order."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

import mmrank
from mmrank.frames.estimator import RankerEstimator

SMALL = {"width": 4, "hidden": (4,), "epochs": 1}


def checks() -> list[Any]:
    """scikit-learn's checks except the one for array APIs, which skips itself."""
    found = estimator_checks_generator(RankerEstimator(**SMALL))
    return [check for _, check in found if check.func.__name__ != "check_array_api_input"]


@pytest.mark.slow
@pytest.mark.parametrize("check", checks(), ids=lambda check: check.func.__name__)
def test_passes_the_checks_of_scikit_learn(check: Any) -> None:
    check(RankerEstimator(**SMALL))


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """40 groups of 8 rows of four numbers, graded within the group by the sum of the first two."""
    draws = np.random.default_rng(0)
    X = draws.normal(size=[320, 4])
    group = np.repeat(np.arange(40), 8)
    worth = (X[:, 0] + X[:, 1]).reshape(40, 8)
    y = np.argsort(np.argsort(worth, axis=1), axis=1).reshape(-1) // 2
    return X, y, group


@pytest.fixture(scope="module")
def fitted(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> RankerEstimator:
    X, y, group = arrays
    return mmrank.RankerEstimator(width=16, hidden=(16,), epochs=30, learning_rate=0.01).fit(
        X, y, group
    )


def test_the_estimator_learns_an_order(fitted: RankerEstimator) -> None:
    X = np.random.default_rng(1).normal(size=[200, 4])
    worth = X[:, 0] + X[:, 1]
    assert np.corrcoef(fitted.predict(X), worth)[0, 1] > 0.9
    assert fitted.n_groups_ == 40


@pytest.mark.parametrize("name", ["trees", "stacked"])
def test_trees_instead_of_and_ahead_of_the_network(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray], name: str
) -> None:
    X, y, group = arrays
    trees = {"losses": ["QueryRMSE"], "depths": [4], "rounds": 60, "learning_rate": 0.1, "folds": 2}
    model = RankerEstimator(**SMALL, config={"model": {"name": name, "trees": trees}})
    model.fit(X, y, group)
    other = np.random.default_rng(1).normal(size=[200, 4])
    scores = model.predict(other)
    assert np.corrcoef(scores, other[:, 0] + other[:, 1])[0, 1] > 0.85
    np.testing.assert_allclose(copy.deepcopy(model).predict(other), scores, atol=1e-5)


def test_score_is_mean_ndcg(fitted: RankerEstimator) -> None:
    """Two groups of two rows; the second group is in the wrong order."""
    X = np.array([[9.0, 9, 0, 0], [-9, -9, 0, 0], [9, 9, 0, 0], [-9, -9, 0, 0]])
    assert fitted.score(X, [1, 0, 0, 1], [0, 0, 1, 1]) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert fitted.score(X, [1, 0, 0, 1], [2, 2]) == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_a_copy_predicts_the_same(fitted: RankerEstimator) -> None:
    X = np.random.default_rng(2).normal(size=[5, 4])
    again = copy.deepcopy(fitted)  # copies the same state as pickling
    assert not hasattr(again, "_run")
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_clones_take_the_parameters() -> None:
    estimator = RankerEstimator(width=5, config={"training": {"weight_decay": 0.1}})
    other = clone(estimator).set_params(epochs=2)
    assert other.get_params() == estimator.get_params() | {"epochs": 2}
    assert other._settings(1).training.weight_decay == 0.1
    assert other._settings(1).training.epochs == 2


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ([[0, 1]], "expected one dimension"),
        ([3, 3], "2 values for 320 rows"),
    ],
)
def test_wrong_groups_are_refused(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray], group: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RankerEstimator(**SMALL).fit(arrays[0], arrays[1], group)


def test_grades_below_zero_are_refused(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    with pytest.raises(ValueError, match="the lowest grade is -1; grades begin at 0"):
        RankerEstimator(**SMALL).fit(arrays[0], arrays[1] - 1)


def test_a_frame_of_numbers(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    frame = pd.DataFrame(arrays[0][:24], columns=list("abcd"))
    estimator = RankerEstimator(**SMALL).fit(frame, arrays[1][:24], [8, 8, 8])
    assert estimator.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame.rename(columns={"a": "z"}))
