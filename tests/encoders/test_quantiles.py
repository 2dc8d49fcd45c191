"""Values as quantiles: interpolation by hand, ties, constants, and values outside the range."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders.quantiles import SPREAD, QuantileRanks, quantile_knots


def test_knots_are_the_distinct_quantiles_of_each_column():
    """The quartiles of 0, 0, 0, 1, 2 are 0, 0, 0, 1, 2; a constant column has one knot."""
    table = np.array([[0, 7], [0, 7], [0, 7], [1, 7], [2, 7]], np.float32)
    assert quantile_knots(table, 4) == [[0, 1, 2], [7]]


def test_quantile_values_lie_evenly_between_knots():
    """Knots 0, 1, 3 map to −s, 0, s; 0.5 and 2 lie halfway between; values outside are clipped."""
    layer = QuantileRanks([[0, 1, 3], [-2, 2], [7]])
    values = np.array(
        [[0, -2, 7], [0.5, 0, 8], [1, 2, 6], [2, 9, 7], [3, -9, 7], [99, 1, 7]], np.float32
    )
    first = np.array([-1, -0.5, 0, 0.5, 1, 1]) * SPREAD
    second = np.array([-1, 0, 1, 1, -1, 0.5]) * SPREAD
    expected = np.stack([first, second, np.zeros(6)], 1)
    np.testing.assert_allclose(layer(values), expected, atol=1e-6)
    again = QuantileRanks.from_config(layer.get_config())
    np.testing.assert_array_equal(again(values), layer(values))


def test_quantile_values_of_even_data_have_variance_one():
    values = np.random.default_rng(0).exponential(size=[20_000, 1]).astype(np.float32)
    ranks = QuantileRanks(quantile_knots(values, 100))(values).numpy()
    assert ranks.mean() == pytest.approx(0, abs=0.02)
    assert ranks.std() == pytest.approx(1, abs=0.02)


def test_one_graph_takes_any_number_of_rows():
    layer = QuantileRanks([[0, 1], [0, 1, 2]])
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None, 2])])
    assert graph(tf.zeros([0, 2])).shape == (0, 2)
    np.testing.assert_allclose(graph(tf.ones([1, 2])), [[SPREAD, 0]], atol=1e-6)
