"""Sizes of experiments, against the examples of R's power.t.test and power.prop.test."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.experiments.confidence_sequence import normal_factor, tightest_at
from mmrank.experiments.power import means_power, plan_means, plan_proportions, proportions_power


def test_power_of_r() -> None:
    # R: power.t.test(n = 20, delta = 1, sd = 1) and power.prop.test(n = 50, p1 = .50, p2 = .75)
    assert means_power(20, 1.0, 1.0, 0.05) == pytest.approx(0.8689528, abs=1e-6)
    assert proportions_power(50, 0.5, 0.75, 0.05) == pytest.approx(0.7401659, abs=1e-6)


def test_sizes_of_r() -> None:
    # R: power.t.test(power = .90, delta = 1): n = 22.02110
    assert plan_means(1.0, 1.0, lift=1.0, power=0.9).per_group == 23
    # R: power.prop.test(p1 = .50, p2 = .75, power = .90): n = 76.7
    assert plan_proportions(0.5, lift=0.5, power=0.9).per_group == 77


@pytest.mark.parametrize("sd", [0.2, 40.0])
@pytest.mark.parametrize("lift", [0.02, -0.3, 3.0])
def test_the_lift_of_a_planned_size_is_the_lift_asked_for(sd: float, lift: float) -> None:
    plan = plan_means(0.5, sd, lift=lift)
    assert means_power(plan.per_group, plan.difference, sd, 0.05) >= 0.8
    if plan.per_group > 2:
        assert means_power(plan.per_group - 1, plan.difference, sd, 0.05) < 0.8
        back = plan_means(0.5, sd, units=plan.per_group)
        assert back.lift <= abs(lift)
        assert means_power(plan.per_group, back.difference, sd, 0.05) == pytest.approx(0.8)


def test_normal_formula_at_a_large_size() -> None:
    # n = 2 (z(.975) + z(.8))² sd² / difference²
    expected = 2 * (1.959964 + 0.841621) ** 2 * 0.2**2 / 0.0008**2
    assert plan_means(0.04, 0.2, lift=0.02).per_group == pytest.approx(expected, rel=1e-4)


def test_comparisons_share_alpha() -> None:
    three = plan_proportions(0.1, lift=0.1, groups=3)
    assert three.alpha == 0.025
    assert three.per_group == plan_proportions(0.1, lift=0.1, alpha=0.025).per_group


def test_daily_looks_need_more_units_but_not_twice_as_many() -> None:
    plan = plan_means(1.0, 1.0, lift=0.05)
    ratio = plan.sequential / plan.per_group
    factor = normal_factor(plan.sequential, 0.05, tightest_at(plan.per_group, 0.05))
    assert 1.5 < ratio < 2.0
    assert np.sqrt(ratio) * (1.959964 + 0.841621) == pytest.approx(factor + 0.841621, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lift": 0.0}, "--lift 0.0: expected a share other than 0"),
        ({}, "--lift None"),
        ({"lift": float("nan")}, "--lift nan"),
        ({"lift": 1e-12}, "too small to be found"),
        ({"units": 1}, "--units 1: must be at least 2"),
        ({"lift": 0.1, "power": 1.0}, "--power 1.0"),
        ({"lift": 0.1, "power": 0.01}, "must be above --alpha"),
        ({"lift": 0.1, "alpha": 0.0}, "--alpha 0.0"),
        ({"lift": 0.1, "groups": 1}, "--groups 1"),
    ],
)
def test_wrong_numbers(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_means(1.0, 1.0, **options)  # type: ignore[arg-type]


def test_wrong_outcomes() -> None:
    for mean, sd in ((0.0, 1.0), (float("nan"), 1.0), (1.0, 0.0), (1.0, float("inf"))):
        with pytest.raises(ConfigError, match=r"--mean|--sd"):
            plan_means(mean, sd, lift=0.1)
    for proportion, lift in ((0.0, 0.1), (1.0, 0.1), (0.5, 1.0), (0.5, -1.0)):
        with pytest.raises(ConfigError, match=r"--proportion|--lift"):
            plan_proportions(proportion, lift=lift)
    with pytest.raises(ConfigError, match="too few to find any lift"):
        plan_proportions(0.5, units=3)
