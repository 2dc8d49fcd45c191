"""Calibrated chances: the fit is that of maximum likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.evaluation.calibration import check_calibration, fit_calibration

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(-1, 2, 4000)
HAPPENED = RNG.random(4000) < 1 / (1 + np.exp(-(0.5 * LOGITS - 1.2)))


def chances(slope: float, offset: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(slope * LOGITS + offset)))


def test_platt_makes_the_likelihood_stationary():
    """Its gradients: Σ (p − y) and Σ (p − y) logit are 0."""
    slope, offset = fit_calibration(LOGITS, HAPPENED, "platt")
    surplus = chances(slope, offset) - HAPPENED
    assert abs(surplus.mean()) < 1e-6
    assert abs((surplus * LOGITS).mean()) < 1e-6
    assert slope == pytest.approx(0.5, abs=0.05)
    assert offset == pytest.approx(-1.2, abs=0.1)


def test_temperature_has_no_offset():
    slope, offset = fit_calibration(LOGITS, HAPPENED, "temperature")
    assert offset == 0
    assert abs(((chances(slope, 0.0) - HAPPENED) * LOGITS).mean()) < 1e-6


def test_a_scale_of_the_logits_is_undone():
    slope, offset = fit_calibration(LOGITS, HAPPENED, "platt")
    wide, same = fit_calibration(1e4 * LOGITS, HAPPENED, "platt")
    assert wide * 1e4 == pytest.approx(slope, rel=1e-4)
    assert same == pytest.approx(offset, rel=1e-4)


def test_unknown_calibrations_are_named():
    with pytest.raises(ConfigError, match="unknown 'plat'; did you mean 'platt'"):
        check_calibration("plat")
