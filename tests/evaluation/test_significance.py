from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import scipy.stats

from mmrank.evaluation.significance import (
    bootstrap_intervals,
    compare,
    holm,
    sign_flip_p_values,
)

NAN = float("nan")


def test_bootstrap_equals_a_plain_loop() -> None:
    values = np.array([0.1, 0.5, 0.9, 1.0, 0.3, 0.0])
    rng = np.random.default_rng(4)
    means = [values[rng.integers(0, 6, 6)].mean() for _ in range(200)]
    low, high = np.percentile(means, (5, 95))
    (found,) = bootstrap_intervals(values[:, None], level=0.9, resamples=200, seed=4)
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.lists == 6


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).beta(2, 1, 300)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    (ours,) = bootstrap_intervals(values[:, None], resamples=4000)
    # With 4,000 resamples, the ends of the interval have an error of about 4% of its half width.
    slack = 0.1 * (theirs.high - theirs.low)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=slack)


def test_bootstrap_excludes_lists_without_a_value() -> None:
    values = np.array([[1.0, NAN, NAN], [3.0, 2.0, NAN], [NAN, 2.0, NAN]])
    first, second, third = bootstrap_intervals(values)
    assert (first.mean, first.lists) == (2.0, 2)
    assert 1.0 <= first.low < first.high <= 3.0
    assert (second.mean, second.low, second.high, second.lists) == (2.0, 2.0, 2.0, 2)
    assert third.lists == 0
    assert np.isnan([third.mean, third.low, third.high]).all()


def test_bootstrap_covers_the_true_mean() -> None:
    rng = np.random.default_rng(2)
    samples = rng.normal(0.3, 1.0, (100, 400))  # 400 experiments of 100 lists
    found = bootstrap_intervals(samples, resamples=500)
    covered = np.mean([i.low <= 0.3 <= i.high for i in found])
    # Three standard errors of a share of .95 in 400 are .033; the resamples are shared.
    assert 0.90 <= covered <= 0.99


def test_sign_flip_agrees_with_every_pattern() -> None:
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.15, 0.0, 0.25, -0.1])
    sums = [np.dot(s, differences) for s in itertools.product((-1, 1), repeat=8)]
    exact = np.mean(np.abs(sums) >= differences.sum() - 1e-12)
    (found,) = sign_flip_p_values(differences[:, None])
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))


def test_sums_that_differ_by_rounding_are_equal() -> None:
    """With tenths many patterns give the observed sum; whole numbers give the exact result."""
    tenths = np.array([3, -1, -2, 1, 2, -4, 1, 3, -1, -1, 2, -2])
    sums = np.array(list(itertools.product((-1, 1), repeat=12))) @ tenths
    exact = np.mean(np.abs(sums) >= abs(tenths.sum()))
    at_the_edge = np.mean(np.abs(sums) == abs(tenths.sum()))
    error = np.sqrt(exact * (1 - exact) / 99_999)
    assert at_the_edge > 20 * error
    (found,) = sign_flip_p_values(tenths[:, None] / 10, permutations=99_999)
    assert found == pytest.approx(exact, abs=4 * error)


def test_seeds_draw_different_patterns() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1.0, (60, 1))
    found = [float(sign_flip_p_values(differences, seed=s)[0]) for s in (0, 0, 1, 2, 3)]
    assert found[0] == found[1]
    assert len(set(found)) >= 3  # of five seeds, two may coincide


def test_sign_flip_agrees_with_scipy() -> None:
    differences = np.random.default_rng(1).normal(0.12, 1.0, 200)
    theirs = scipy.stats.permutation_test(
        (differences,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        random_state=0,
    ).pvalue
    (ours,) = sign_flip_p_values(differences[:, None])
    assert 0.01 < theirs < 0.5
    assert ours == pytest.approx(theirs, abs=0.02)


def test_sign_flip_extremes() -> None:
    equal, better, mirrored = np.zeros(30), np.full(30, 0.1), np.tile([0.2, -0.2], 15)
    p = sign_flip_p_values(np.stack([equal, better, mirrored], axis=1))
    assert p[0] == 1.0  # no pattern differs from the observed one
    assert p[1] == 1 / 10_000  # the smallest possible value
    assert p[2] == 1.0  # every sum is at least as far from zero as the observed 0


def test_sign_flip_ignores_lists_without_a_value() -> None:
    p = sign_flip_p_values(np.array([[1.0], [1.0], [NAN], [1.0], [NAN]]))
    assert p[0] == pytest.approx(2 / 8, abs=0.02)


def test_sign_flip_keeps_its_level() -> None:
    null = np.random.default_rng(6).normal(0, 1, (40, 500))
    share = np.mean(sign_flip_p_values(null, permutations=999) <= 0.05)
    assert share == pytest.approx(0.05, abs=0.03)


def test_compare_names_and_relative_difference() -> None:
    model = {"ndcg": np.array([0.9, 0.7, NAN]), "mrr": np.array([1.0, 0.5, 0.5])}
    base = {"ndcg": np.array([0.6, 0.4, NAN]), "mrr": np.zeros(3)}
    ndcg, mrr = compare({"model": model, "bm25": base})
    assert (ndcg.a, ndcg.b, ndcg.metric) == ("model", "bm25", "ndcg")
    assert ndcg.difference.mean == pytest.approx(0.3)
    assert ndcg.difference.lists == 2
    assert ndcg.relative == pytest.approx(0.6)  # 0.3 / 0.5
    assert ndcg.p_value == pytest.approx(0.5, abs=0.03)  # two of the four sign patterns
    assert np.isnan(mrr.relative)
    assert compare({"model": model}) == []


def test_relative_differences_are_to_the_mean_of_the_shared_lists() -> None:
    """The third list has a value of the baseline only."""
    model = {"ndcg": np.array([0.9, 0.7, NAN])}
    base = {"ndcg": np.array([0.6, 0.4, 0.1])}
    (ndcg,) = compare({"model": model, "bm25": base})
    assert ndcg.relative == pytest.approx((0.9 + 0.7 - 0.6 - 0.4) / (0.6 + 0.4))


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 are multiplied by 4, 3, 2, 1, and never below the previous value."""
    corrected = holm(np.array([0.04, 0.01, NAN, 0.03, 0.02]))
    np.testing.assert_allclose(corrected, [0.06, 0.04, NAN, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.6])), [1.0, 1.0])
    assert holm(np.array([0.2])) == pytest.approx([0.2])
    assert len(holm(np.zeros(0))) == 0


def test_holm_bounds_the_probability_of_any_false_discovery() -> None:
    null = np.random.default_rng(3).random((4000, 5))
    any_found = np.mean([(holm(p) <= 0.05).any() for p in null])
    assert any_found == pytest.approx(0.05, abs=0.015)


def test_compare_corrects_and_counts() -> None:
    random = np.random.default_rng(0)
    model = {"ndcg": np.r_[0.5, 0.5, 0.5, NAN, random.random(50)], "mrr": random.random(54)}
    others = {
        "a": {"ndcg": model["ndcg"] - 0.2, "mrr": model["mrr"]},
        "b": {"ndcg": np.r_[0.4, 0.5 + 1e-13, 0.9, NAN, model["ndcg"][4:]], "mrr": model["mrr"]},
    }
    found = {(c.b, c.metric): c for c in compare({"model": model, **others})}
    a, b = found["a", "ndcg"], found["b", "ndcg"]
    assert (a.wins, a.ties, a.losses) == (53, 0, 0)
    assert (b.wins, b.ties, b.losses) == (1, 51, 1)
    assert a.p_holm == pytest.approx(2 * a.p_value)  # two comparisons under this metric
    assert b.p_holm == pytest.approx(b.p_value)
    assert found["a", "mrr"].p_holm == 1.0


def test_ten_thousand_lists_are_quick() -> None:
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(11)]
    values = {s: {m: rng.random(10_000) for m in names} for s in ("model", "bm25")}
    start = time.perf_counter()
    compare(values)
    assert time.perf_counter() - start < 8  # about 1 s on an idle core for all 11 metrics
