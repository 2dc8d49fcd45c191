"""Vectors: cells read, lengths checked, standardised by training values, zeros where absent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.checks import check_feature
from mmrank.data.vectors import read_vector, vector_text
from mmrank.encoders.vector import Vector
from mmrank.schema import Feature

FEATURE = Feature("code", "vector", "item", "code")
COLUMN = pd.Series([[1.0, 10.0], np.array([3.0, 10.0]), "5 10", "[7, 10]", None, "", np.nan])


def fitted(values: pd.Series = COLUMN, **options: object) -> Vector:
    kind = Vector(FEATURE, options)
    kind.fit(values)
    return kind


def test_cells_of_every_form_are_read():
    arrays, present = fitted().arrays(COLUMN, None)
    np.testing.assert_array_equal(arrays[:4], [[1, 10], [3, 10], [5, 10], [7, 10]])
    np.testing.assert_array_equal(arrays[4:], np.zeros([3, 2]))
    assert present.tolist() == [True] * 4 + [False] * 3


def test_a_text_keeps_every_bit_of_a_float32():
    numbers = np.random.default_rng(0).normal(0, 1e-3, 200).astype(np.float32)
    np.testing.assert_array_equal(read_vector(vector_text(numbers)), numbers)
    kind = fitted(pd.Series([list(numbers)]))
    np.testing.assert_array_equal(kind.arrays(pd.Series([numbers]), None)[0][0], numbers)


def test_the_encoder_reads_deviations_from_the_training_mean():
    """1, 3, 5, 7 have mean 4 and variance (9 + 1 + 1 + 9) / 4 = 5; a constant is only centred."""
    kind = fitted()
    assert kind.mean.tolist() == [4, 10]
    np.testing.assert_allclose(kind.deviation, [np.sqrt(5), 1], rtol=1e-6)
    encoder = kind.encoder(3)
    given = np.array([[4 + np.sqrt(5), 10], [4, 1000]], np.float32)
    encoder(given)
    scaled = np.array([[1, 0], [0, 5]])  # clipped at five deviations
    hidden = np.maximum(scaled @ encoder.hidden.kernel.numpy(), 0)
    np.testing.assert_allclose(
        encoder(given), hidden @ encoder.output_layer.kernel.numpy(), rtol=1e-5, atol=1e-6
    )


def test_what_was_fitted_survives_a_round_trip():
    other = Vector(FEATURE, {})
    other.restore(fitted().state())
    assert other.input_spec() == tf.TensorSpec([None, 2], tf.float32)
    np.testing.assert_array_equal(other.mean, [4, 10])


def test_lengths_that_differ_are_refused():
    with pytest.raises(ConfigError, match="'code'.*1 and 2 numbers"):
        fitted(pd.Series([[1.0], [1.0, 2.0]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not of 2 numbers"):
        fitted().arrays(pd.Series([[1.0, 2.0, 3.0]]), None)
    with pytest.raises(ConfigError, match="dropout: expected 0 to below 1, got 1.0"):
        Vector(FEATURE, {"dropout": 1.0})


def test_validation_names_the_rows():
    cells = pd.Series([[1.0, 2.0], "a b", [1.0], None, [np.inf, 0.0], [[1.0, 2.0]], 3.0, "[1,"])
    (finding,) = check_feature("catalog.parquet", pd.DataFrame({"code": cells}), FEATURE)
    assert finding.fatal
    assert finding.count == 6
    assert finding.rows[:2] == (
        (2, "contains a value that is not a number"),
        (3, "has 1 numbers, the others have 2"),
    )
    assert not list(check_feature("c", pd.DataFrame({"code": COLUMN}), FEATURE))


def test_quantiles_replace_deviations():
    """The tertiles of 1, 3, 5, 7 are the knots, so that 4 is in the middle; 10 is constant."""
    kind = fitted(quantiles=3, layers=0)
    assert kind.knots == ([1, 3, 5, 7], [10])
    other = Vector(FEATURE, {"quantiles": 3, "layers": 0})
    other.restore(kind.state())
    encoder = other.encoder(3)
    given = np.array([[1, 10], [4, 10], [7, 11]], np.float32)
    expected = np.array([[-1, 0], [0, 0], [1, 0]]) * np.sqrt(3)
    np.testing.assert_allclose(encoder(given), expected, atol=1e-6)
    assert not encoder.weights


def test_quantiles_and_deviations_can_be_combined():
    both = fitted(quantiles=3, deviations=True, layers=0).encoder(3)
    apart = [fitted(layers=0, **options).encoder(3) for options in ({"quantiles": 3}, {})]
    given = np.array([[1, 10], [4, 10], [700, 11]], np.float32)
    expected = np.concatenate([encoder(given) for encoder in apart], 1)
    assert expected.shape == (3, 4)
    np.testing.assert_array_equal(both(given), expected)


def test_noise_is_added_in_training_only():
    encoder = fitted(noise=0.5, layers=0).encoder(3)
    given = np.tile(np.array([[4, 10]], np.float32), [4000, 1])
    np.testing.assert_array_equal(encoder(given), np.zeros([4000, 2]))
    shaken = encoder(given, training=True).numpy()
    np.testing.assert_allclose(shaken.std(0), [0.5, 0.5], rtol=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 1}, "layers: expected 0 or 2, got 1"),
        ({"quantiles": -1}, "quantiles: expected 0 or more, got -1"),
        ({"noise": -0.5}, "noise: expected 0 or more, got -0.5"),
        ({"deviations": True}, "deviations needs quantiles"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Vector(FEATURE, options)
