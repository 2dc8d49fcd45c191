"""Piecewise linear codes: the paper's equation in a plain loop, its limits, ties and constants."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.encoders.piecewise import PiecewiseLinear, quantile_edges
from mmrank.encoders.quantiles import SPREAD, QuantileRanks

EDGES = [[-1.0, 0.0, 2.0, 3.0], [0.5, 1.0], [7.0]]


def code(x: float, edges: list[float], most: int) -> list[float]:
    """Codes by equation 1, where the first and the last bin are bounded too."""
    codes = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        codes.append(0.0 if x < low else 1.0 if x >= high else (x - low) / (high - low))
    return codes + [0.0] * (most - len(codes))


@pytest.mark.parametrize("x", [-9.0, -1.0, -0.25, 0.0, 0.75, 1.0, 2.0, 2.5, 3.0, 7.0, 1e9])
def test_codes_by_the_equation(x):
    layer = PiecewiseLinear(EDGES)
    found = layer(np.full([1, 3], x, np.float32)).numpy()[0]
    assert found.shape == (3, 3)
    for k, edges in enumerate(EDGES):
        np.testing.assert_allclose(found[k], code(x, edges, 3), atol=1e-6)


def test_quantiles_of_ties_are_kept_by_column():
    """The quartiles of 0, 0, 0, 1, 2 are these values; those of a constant are all equal."""
    table = np.array([[0, 7], [0, 7], [0, 7], [1, 7], [2, 7]])
    np.testing.assert_array_equal(quantile_edges(table, 4), table)


def test_the_sum_over_bins_is_the_quantile():
    knots = [[0.0, 1.0, 3.0, 10.0]]
    values = np.linspace(-2, 12, 57, dtype=np.float32)[:, None]
    share = PiecewiseLinear(knots)(values).numpy().sum(-1) / 3
    ranks = QuantileRanks(knots)(values).numpy()
    np.testing.assert_allclose((2 * share - 1) * SPREAD, ranks, atol=1e-5)


def test_adjacent_edges_are_finite():
    tiny = float(np.float32(1e-42))
    found = PiecewiseLinear([[0.0, tiny, 1.0]])(np.array([[0.0], [0.5], [1.0]], np.float32))
    np.testing.assert_allclose(found.numpy()[:, 0], [[0, 0], [1, 0.5], [1, 1]], atol=1e-6)
