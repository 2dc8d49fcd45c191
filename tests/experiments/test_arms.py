"""Groups compared: against SciPy's Welch test, and sizes of groups against its chi-square test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmrank.data.findings import DataError
from mmrank.evaluation.significance import holm
from mmrank.experiments.arms import compare_arms
from mmrank.experiments.ratio_mismatch import check_shares
from mmrank.experiments.units import Metric, Units

CLICKS, BUYS = Metric("clicks"), Metric("buys")


def drawn(sizes: tuple[int, ...] = (40, 60, 55)) -> Units:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(len(sizes)), sizes)
    sums = {
        "clicks": rng.normal(1 + 0.3 * group, 1 + group),
        "buys": rng.poisson(0.5 + 0.2 * group).astype(float),
    }
    return Units(("a", "b", "c")[: len(sizes)], group, sums, None)


def test_differences_are_those_of_scipy() -> None:
    units = drawn()
    arms = compare_arms(units, [CLICKS, BUYS], alpha=0.1)
    assert [(arm.metric, arm.group, arm.units) for arm in arms] == [
        (metric, group, size)
        for metric in ("clicks", "buys")
        for group, size in (("a", 40), ("b", 60), ("c", 55))
    ]
    p_values = []
    for metric in (CLICKS, BUYS):
        control, *others = units.values(metric)
        for name, values in zip("bc", others, strict=True):
            [arm] = [a for a in arms if (a.metric, a.group) == (str(metric), name)]
            test = stats.ttest_ind(values, control, equal_var=False)
            low, high = test.confidence_interval(0.9)
            found = arm.difference
            assert found is not None
            assert found.p_value == pytest.approx(test.pvalue)
            assert (found.low, found.high) == pytest.approx((low, high))
            assert found.mean == pytest.approx(values.mean() - control.mean())
            assert found.lift == pytest.approx(values.mean() / control.mean() - 1)
            low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
            assert (arm.low, arm.high) == pytest.approx((low, high))
            p_values.append(test.pvalue)
    corrected = [a.difference.p_holm for a in arms if a.difference is not None]
    assert corrected == pytest.approx(holm(np.array(p_values)).tolist())
    assert all((arm.difference is None) == (arm.group == "a") for arm in arms)


def test_groups_without_a_spread() -> None:
    group = np.array([0, 0, 1, 1])
    same = Units(("a", "b"), group, {"clicks": np.ones(4)}, None)
    with pytest.raises(DataError, match="b and a have the same value for all of their units"):
        compare_arms(same, [CLICKS])
    none = Units(("a", "b"), group, {"clicks": np.array([0.0, 0.0, 1.0, 2.0])}, None)
    control, arm = compare_arms(none, [CLICKS])
    assert (control.low, control.high) == (0, 0)
    assert arm.difference is not None
    assert arm.difference.lift is None
    assert 0 < arm.difference.p_value < 1


def test_sizes_of_groups() -> None:
    expected = stats.chisquare([480, 260, 260], [500, 250, 250]).pvalue
    assert check_shares("abc", [480, 260, 260], [2, 1, 1]) == pytest.approx(expected)
    with pytest.raises(DataError, match=r"a has 600 units, b 400, where 500, 500 were expected"):
        check_shares("ab", [600, 400], [0.5, 0.5])
    assert check_shares("ab", [600, 400], [0.6, 0.4]) == 1
