"""Estimators on expected clicks with known propensities, and on sampled clicks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.propensity import METHODS
from mmrank.propensity.estimate import estimate
from mmrank.propensity.harvest import fit_all_pairs
from mmrank.propensity.log import ClickLog
from mmrank.propensity.regression_em import RegressionEM

TRUTH = np.array([1.0, 0.7, 0.45, 0.3, 0.2])


def drawn_log(lists: int, seed: int = 0, randomised: bool = False) -> ClickLog:
    """Pages of five items, ordered by relevance plus noise, or at random.

    There are forty queries of six items. The relevance of a pair is one of its features; noise is
    added to it for the order.
    """
    rng = np.random.default_rng(seed)
    relevance = rng.uniform(0.1, 0.9, (40, 6))
    query = rng.integers(40, size=lists)
    pull = 0.0 if randomised else 2.0
    order = np.argsort(-(pull * relevance[query] + rng.normal(size=(lists, 6))), 1)[:, :5]
    shown = relevance[query[:, None], order]
    clicks = rng.random(shown.shape) < TRUTH * 0.9 * shown
    return ClickLog(
        lists=np.repeat(np.arange(lists), 5),
        pairs=(query[:, None] * 6 + order).ravel(),
        positions=np.tile(np.arange(1, 6), lists),
        clicks=clicks.ravel().astype(float),
        features=shown.reshape(-1, 1),
        categorical=np.array([False]),
        randomised=np.full(5 * lists, randomised),
    )


def test_all_pairs_of_expected_clicks_return_the_true_propensities() -> None:
    """For positions k, k' views and relevance are arbitrary; clicks are p_k r_kk' times views."""
    rng = np.random.default_rng(0)
    relevance = rng.uniform(0.05, 0.9, (5, 5))
    relevance = (relevance + relevance.T) / 2
    views = rng.uniform(10, 1000, (5, 5)) * (1 - np.eye(5))
    clicked = views * TRUTH[:, None] * relevance
    found = fit_all_pairs(clicked, views - clicked)
    np.testing.assert_allclose(found, TRUTH, rtol=2e-3)


def test_two_positions_by_hand() -> None:
    """With 30 of 100 clicks at the first position and 12 of 100 at the second, p = 12 / 30."""
    clicked = np.array([[0.0, 30.0], [12.0, 0.0]])
    found = fit_all_pairs(clicked, np.array([[0.0, 70.0], [88.0, 0.0]]))
    np.testing.assert_allclose(found, [1.0, 0.4], rtol=2e-3)


def test_positions_not_connected_with_the_first_are_unknown() -> None:
    clicked = np.zeros((4, 4))
    clicked[0, 1], clicked[1, 0] = 30.0, 12.0
    clicked[2, 3], clicked[3, 2] = 5.0, 4.0
    found = fit_all_pairs(clicked, 10 * clicked)
    assert np.isnan(found).tolist() == [False, False, True, True]


@pytest.mark.parametrize("method", ["harvest", "em", "regression_em"])
def test_relevance_that_decides_the_order_adds_no_bias(method: str) -> None:
    log = drawn_log(4_000 if method == "regression_em" else 8_000)
    rate = log.by_position(log.clicks) / log.by_position(np.ones(len(log.clicks)))
    assert np.abs(rate / rate[0] / TRUTH - 1)[1:].max() > 0.15  # plain click rates are biased
    found = METHODS.make(method, {}, log)(np.ones(len(log.clicks)))
    np.testing.assert_allclose(found, TRUTH, rtol=0.1)


def test_random_order_uses_the_click_rate_of_its_rows() -> None:
    random, sorted_ = drawn_log(3_000, randomised=True), drawn_log(500, seed=1)
    log = ClickLog(
        *(
            np.concatenate([getattr(random, name), getattr(sorted_, name)])
            for name in ("lists", "pairs", "positions", "clicks", "features")
        ),
        categorical=random.categorical,
        randomised=np.concatenate([random.randomised, sorted_.randomised]),
    )
    clicks = [
        sum(c for c, p in zip(random.clicks, random.positions, strict=True) if p == k)
        for k in range(1, 6)
    ]
    found = METHODS.make("random", {}, log)(np.ones(len(log.clicks)))
    np.testing.assert_allclose(found, np.array(clicks) / clicks[0])


@pytest.mark.parametrize("method", ["harvest", "em", "random"])
def test_counting_rows_twice_changes_nothing(method: str) -> None:
    log = drawn_log(2_000, randomised=method == "random")
    ones = np.ones(len(log.clicks))
    once, twice = METHODS.make(method, {}, log)(ones), METHODS.make(method, {}, log)(2 * ones)
    np.testing.assert_allclose(twice, once, rtol=1e-3)


def test_intervals_contain_the_truth_and_shrink_with_the_log() -> None:
    small = estimate(drawn_log(500), "harvest", resamples=40)
    large = estimate(drawn_log(8_000), "harvest", resamples=40)
    assert ((large.low <= TRUTH) & (large.high >= TRUTH))[1:].sum() >= 3
    width = [(np.log(e.high) - np.log(e.low))[1:] for e in (small, large)]
    # Sixteen times as many lists give a quarter of the width, within the noise of 40 resamples.
    np.testing.assert_allclose(width[1] / width[0], 0.25, rtol=0.5)
    assert large.impressions.tolist() == [8_000] * 5


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("harvest", "no query–item pair was seen at two positions"),
        ("em", "seen at 4 positions"),
        ("random", "--randomised"),
        ("regression_em", "no number or category"),
    ],
)
def test_logs_that_lack_what_a_method_needs(method: str, message: str) -> None:
    rows = np.arange(6)
    log = ClickLog(
        lists=rows // 3,
        pairs=rows,
        positions=rows % 3 + 1,
        clicks=np.ones(6),
        features=np.zeros((6, 0)),
        categorical=np.zeros(0, bool),
    )
    with pytest.raises(DataError, match=message):
        estimate(log, method, resamples=0)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown method 'harvets'; did you mean 'harvest'"):
        estimate(drawn_log(10), "harvets", resamples=0)


def test_an_interval_is_1_96_deviations_of_log_p_either_way() -> None:
    """The expected deviation comes from lists resampled by a plain loop, in random order."""
    log = drawn_log(400, randomised=True)
    clicks = log.clicks.reshape(400, 5)
    rng = np.random.default_rng(9)
    logs = []
    for _ in range(600):
        drawn = clicks[rng.integers(400, size=400)].sum(0)
        logs.append(np.log(drawn / drawn[0]))
    width = norm.ppf(0.975) * np.std(logs, axis=0)
    found = estimate(log, "random", resamples=600)
    np.testing.assert_allclose(np.log(found.high / found.propensity), width, rtol=0.15)
    np.testing.assert_allclose(np.log(found.propensity / found.low), width, rtol=0.15)


def test_a_resample_draws_whole_lists() -> None:
    """Every list has clicks at all positions or at none, so rates are equal in any resample."""
    clicks = np.repeat(np.random.default_rng(0).random(60) < 0.5, 3).astype(float)
    rows = np.arange(180)
    log = ClickLog(
        lists=rows // 3,
        pairs=rows,
        positions=rows % 3 + 1,
        clicks=clicks,
        features=np.zeros((180, 0)),
        categorical=np.zeros(0, bool),
        randomised=np.ones(180, bool),
    )
    found = estimate(log, "random", resamples=20)
    for values in (found.propensity, found.low, found.high):
        np.testing.assert_allclose(values, 1.0)


def test_relevance_is_fitted_with_row_weights() -> None:
    """Trees with two leaves reach the weighted means; the lighter rows have opposite labels."""
    feature = np.tile([0.0, 1.0], 100)
    relevance = np.r_[feature[:100], 1 - feature[100:]]
    log = ClickLog(
        lists=np.arange(200),
        pairs=np.arange(200),
        positions=np.ones(200, np.int64),
        clicks=relevance,
        features=feature[:, None],
        categorical=np.array([False]),
    )
    weights = np.repeat([3.0, 1.0], 100)
    expected = np.where(feature == 1, 3 / (3 + 1), 1 / (3 + 1))
    with threadpool_limits(1):
        found = RegressionEM(log)._predicted(relevance, weights)
    # Each of the ten trees halves the remaining error.
    np.testing.assert_allclose(found, expected, atol=2 * 0.5**10)
