"""Plain numbers, scaled for networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from mmrank.evaluation.peers.scaling import Scaler

COLUMN = np.array([[0.0], [2.0], [4.0], [6.0]])


def test_standard() -> None:
    mean, deviation = 3.0, np.sqrt(5.0)
    scale = Scaler(COLUMN, "standard")
    np.testing.assert_allclose(scale(COLUMN), (COLUMN - mean) / deviation, rtol=1e-6)
    assert scale(np.array([[1e9]])) == 5.0


def test_signed_log() -> None:
    values = np.array([[-3.0], [0.0], [3.0]])
    deviation = np.sqrt(2 / 3) * np.log(4)
    expected = np.array([[-1.0], [0.0], [1.0]]) * np.log(4) / deviation
    np.testing.assert_allclose(Scaler(values, "signed_log")(values), expected, rtol=1e-6)


def test_quantile_depends_only_on_the_order() -> None:
    scale = Scaler(COLUMN, "quantile")
    moved = Scaler(COLUMN**3, "quantile")
    np.testing.assert_allclose(scale(COLUMN), moved(COLUMN**3), rtol=1e-6)
    # Four values at evenly spaced quantiles of the normal distribution.
    deviates = ndtri((np.array([0, 1, 2, 3]) + 1.0) / 5)
    np.testing.assert_allclose(
        scale(COLUMN)[:, 0], deviates / np.sqrt(np.mean(deviates**2)), rtol=1e-6
    )


def test_absent_numbers_are_zero_and_marked() -> None:
    values = np.array([[1.0, 5.0], [np.nan, 5.0], [3.0, 5.0]])
    scaled = Scaler(values, "standard")(values)
    np.testing.assert_allclose(scaled, [[-1, 0, 1], [0, 0, 0], [1, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("transform", ["standard", "signed_log", "quantile"])
def test_an_empty_column_is_finite(transform: str) -> None:
    values = np.full((3, 1), np.nan)
    scaled = Scaler(values, transform)(np.array([[np.nan], [2.0]]))
    assert np.isfinite(scaled).all()


def test_an_unknown_transform_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown transform 'rank'; known: standard"):
        Scaler(COLUMN, "rank")
