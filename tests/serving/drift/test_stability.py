"""The population stability index, by hand and by a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmrank.serving.drift.stability import stability_index


def test_by_hand() -> None:
    # Shares .5 and .5 against .75 and .25: .25 · ln 1.5 − .25 · ln .5 = .25 · ln 3.
    found = stability_index(np.array([10, 10]), np.array([300, 100]))
    assert found == pytest.approx(0.25 * math.log(3))


def test_by_a_loop_and_symmetric() -> None:
    rng = np.random.default_rng(1)
    e, a = rng.integers(1, 100, 8), rng.integers(1, 100, 8)
    index = 0.0
    for x, y in zip(e, a, strict=True):
        p, q = x / e.sum(), y / a.sum()
        index += (q - p) * math.log(q / p)
    assert stability_index(e, a) == pytest.approx(index)
    assert stability_index(a, e) == pytest.approx(index)


def test_equal_shares_are_zero_whatever_the_counts() -> None:
    assert stability_index(np.array([1, 2, 3]), np.array([10, 20, 30])) == pytest.approx(0)


def test_an_empty_bin_is_finite_and_large() -> None:
    assert 0.25 < stability_index(np.array([50, 50]), np.array([0, 100])) < 10


def test_distributions_that_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="bins"):
        stability_index(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="empty"):
        stability_index(np.ones(2), np.zeros(2))
