"""Estimators on expected clicks, whose propensities are known, and on drawn ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from mmrank.data.tables import DataError
from mmrank.propensity import METHODS
from mmrank.propensity.estimate import estimate
from mmrank.propensity.harvest import fit_all_pairs
from mmrank.propensity.log import ClickLog
from mmrank.propensity.regression_em import RegressionEM

TRUTH = np.array([1.0, 0.7, 0.45, 0.3, 0.2])


def drawn_log(lists: int, seed: int = 0, randomised: bool = False) -> ClickLog:
    """Pages of five items in an order that relevance pulls at, unless it is random.

    Forty queries of six items; the relevance of a pair is one of its features, to which noise is
    added for the order.
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


def test_all_pairs_of_expected_clicks_gives_the_truth() -> None:
    """Views and relevance of every two positions are arbitrary; clicks are p_k r_kk' of views."""
    rng = np.random.default_rng(0)
    relevance = rng.uniform(0.05, 0.9, (5, 5))
    relevance = (relevance + relevance.T) / 2
    views = rng.uniform(10, 1000, (5, 5)) * (1 - np.eye(5))
    clicked = views * TRUTH[:, None] * relevance
    found = fit_all_pairs(clicked, views - clicked)
    np.testing.assert_allclose(found, TRUTH, rtol=2e-3)


def test_two_positions_by_hand() -> None:
    """Clicks 30 of 100 at the first, 12 of 100 at the second: the propensity is 12 / 30."""
    clicked = np.array([[0.0, 30.0], [12.0, 0.0]])
    found = fit_all_pairs(clicked, np.array([[0.0, 70.0], [88.0, 0.0]]))
    np.testing.assert_allclose(found, [1.0, 0.4], rtol=2e-3)


def test_positions_without_ties_to_the_first_are_unknown() -> None:
    clicked = np.zeros((4, 4))
    clicked[0, 1], clicked[1, 0] = 30.0, 12.0
    clicked[2, 3], clicked[3, 2] = 5.0, 4.0
    found = fit_all_pairs(clicked, 10 * clicked)
    assert np.isnan(found).tolist() == [False, False, True, True]


@pytest.mark.parametrize("method", ["harvest", "em", "regression_em"])
def test_relevance_that_decides_the_order_does_not_mislead(method: str) -> None:
    log = drawn_log(4_000 if method == "regression_em" else 8_000)
    rate = log.by_position(log.clicks) / log.by_position(np.ones(len(log.clicks)))
    assert np.abs(rate / rate[0] / TRUTH - 1)[1:].max() > 0.15  # plain click rates are misled
    found = METHODS[method](log)(np.ones(len(log.clicks)))
    np.testing.assert_allclose(found, TRUTH, rtol=0.1)


def test_random_order_is_the_click_rate_of_its_rows() -> None:
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
    found = METHODS["random"](log)(np.ones(len(log.clicks)))
    np.testing.assert_allclose(found, np.array(clicks) / clicks[0])


@pytest.mark.parametrize("method", ["harvest", "em", "random"])
def test_counting_rows_twice_changes_nothing(method: str) -> None:
    log = drawn_log(2_000, randomised=method == "random")
    ones = np.ones(len(log.clicks))
    once, twice = METHODS[method](log)(ones), METHODS[method](log)(2 * ones)
    np.testing.assert_allclose(twice, once, rtol=1e-3)


def test_intervals_hold_the_truth_and_shrink_with_the_log() -> None:
    small = estimate(drawn_log(500), "harvest", resamples=40)
    large = estimate(drawn_log(8_000), "harvest", resamples=40)
    assert ((large.low <= TRUTH) & (large.high >= TRUTH))[1:].sum() >= 3
    width = [(np.log(e.high) - np.log(e.low))[1:] for e in (small, large)]
    # Sixteen times the lists: a quarter of the width, within the noise of 40 resamples.
    np.testing.assert_allclose(width[1] / width[0], 0.25, rtol=0.5)
    assert large.impressions.tolist() == [8_000] * 5


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("harvest", "no query–item pair was seen at two positions"),
        ("em", "seen at 4 positions"),
        ("random", "--randomised"),
        ("regression_em", "no number or category"),
        ("harvets", "did you mean 'harvest'"),
    ],
)
def test_unmet_needs(method: str, message: str) -> None:
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


def test_an_interval_is_1_96_deviations_of_log_p_either_way() -> None:
    """Against resampled lists of a plain loop, for click rates of a random order."""
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


def test_a_resample_keeps_lists_whole() -> None:
    """Every list was clicked at each position or at none: rates are equal in any resample."""
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


def test_relevance_is_fitted_to_rows_as_often_as_they_count() -> None:
    """Trees of two leaves come to the weighted means; the lesser weight says the opposite."""
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
    # Ten trees, each of which goes half of the way that is left.
    np.testing.assert_allclose(found, expected, atol=2 * 0.5**10)
