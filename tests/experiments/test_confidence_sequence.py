"""Confidence sequences: the formula of the paper, and that they hold at all looks at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmrank.experiments.confidence_sequence import always_valid, normal_factor, tightest_at


@pytest.mark.parametrize("units", [10, 500, 1e6])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_formula_of_the_paper(units: float, alpha: float) -> None:
    """Mean ± sd · sqrt(2 (t rho² + 1) / (t² rho²) · log(sqrt(t rho² + 1) / alpha))."""
    rho2, sd = tightest_at(300, alpha), 2.5
    width = sd * math.sqrt(
        2 * (units * rho2 + 1) / (units**2 * rho2) * math.log(math.sqrt(units * rho2 + 1) / alpha)
    )
    found = always_valid(0.7, sd / math.sqrt(units), units, planned=300, alpha=alpha)
    assert (found.low, found.high) == pytest.approx((0.7 - width, 0.7 + width))


def test_it_is_tightest_where_it_should_be() -> None:
    others = np.geomspace(1e-6, 1e2, 200)
    best = normal_factor(1000, 0.05, tightest_at(1000, 0.05))
    # The paper's rho is an approximation of the best one, within a thousandth of its width.
    assert best <= 1.001 * min(normal_factor(1000, 0.05, rho2) for rho2 in others)


@pytest.mark.parametrize("units", [50, 3000])
def test_the_p_value_is_the_level_whose_interval_ends_at_zero(units: int) -> None:
    error, planned = 0.1, 1000
    edge = normal_factor(units, 0.05, tightest_at(planned, 0.05)) * error
    look = always_valid(edge, error, units, planned=planned, alpha=0.05)
    assert look.low == pytest.approx(0, abs=1e-12)
    assert look.p == pytest.approx(0.05)
    assert always_valid(0.0, error, units, planned=planned, alpha=0.05).p == 1


def test_it_holds_at_all_of_many_looks() -> None:
    """Random walks without a drift, looked at 200 times: at most 5% are ever left out."""
    steps = np.random.default_rng(0).normal(size=(2000, 200, 10)).sum(2).cumsum(1)
    units = np.arange(1, 201) * 10
    z = np.abs(steps) / np.sqrt(units)
    limits = np.array([normal_factor(n, 0.05, tightest_at(1000, 0.05)) for n in units])
    missed = (z > limits).any(1).mean()
    assert missed <= 0.05
    assert (z > 1.96).any(1).mean() > 0.3  # the usual interval at every look
