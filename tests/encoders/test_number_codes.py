"""Codes of numbers and vectors as made by their kinds: fitted, exported, restored, refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.number import Number
from mmrank.encoders.number_codes import NumberCodes, OwnDense, bin_edges, number_codes
from mmrank.encoders.scaled import Scaled, signed_log
from mmrank.encoders.vector import Vector, VectorEncoder
from mmrank.schema import Feature

ROWS = np.random.default_rng(0).lognormal(size=[40, 2]).astype(np.float32)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # graphs round the argument of a sine differently
CODES = {
    "bins": {"bins": 4},
    "periodic": {"periodic": 3, "frequency": 0.5},
    "both": {"bins": 4, "periodic": 3},
    "embedded bins": {"bins": 4, "embed": 5},
    "embedded waves": {"periodic": 3, "embed": 5},
    "embedded numbers": {"embed": 5},
    "bins of places": {"quantiles": 10, "bins": 4},
    "bins of both": {"quantiles": 10, "deviations": True, "bins": 4, "periodic": 2},
    "bins of logarithms": {"signed_log": True, "bins": 4},
}
WIDTHS = {
    "bins": 4, "periodic": 6, "both": 10, "embedded bins": 5, "embedded waves": 5,
    "embedded numbers": 5, "bins of places": 4, "bins of both": 16, "bins of logarithms": 4,
}  # fmt: skip


def vector(**options: object) -> Vector:
    kind = Vector(Feature("code", "vector", "item", "code"), {"layers": 0, **options})
    kind.fit(pd.Series(list(ROWS)))
    return kind


def number(**options: object) -> Number:
    return Number(Feature("price", "number", "item", "price"), {"layers": 0, **options})


@pytest.mark.parametrize("name", CODES)
def test_eager_graph_saved_and_restored_codes_agree(name, tmp_path):
    kind = vector(**CODES[name])
    encoder = kind.encoder(3)
    given = np.concatenate([ROWS[:5], [[-1e9, 1e9]]]).astype(np.float32)
    expected = encoder(given).numpy()
    assert expected.shape == (6, 2 * WIDTHS[name])
    assert np.isfinite(expected).all()

    module = tf.Module()
    module.encoder = encoder
    module.run = tf.function(encoder, input_signature=[tf.TensorSpec([None, 2])])
    np.testing.assert_allclose(module.run(given), expected, **CLOSE)
    assert module.run(np.zeros([0, 2], np.float32)).shape == (0, 2 * WIDTHS[name])
    tf.saved_model.save(module, str(tmp_path))
    served = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(served.run(given), expected, **CLOSE)

    other = Vector(kind.feature, {"layers": 0, **CODES[name]})
    other.restore(kind.state())
    for again in (other.encoder(3), VectorEncoder.from_config(encoder.get_config())):
        again(given)
        again.set_weights(encoder.get_weights())
        np.testing.assert_allclose(again(given), expected, **CLOSE)


@pytest.mark.parametrize("name", CODES)
def test_gradients_are_finite_and_reach_every_weight(name):
    encoder = vector(**{**CODES[name], "layers": 2}).encoder(3)
    encoder(ROWS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(ROWS) ** 2)
    for weight, gradient in zip(
        encoder.trainable_weights, tape.gradient(loss, encoder.trainable_weights), strict=True
    ):
        assert np.isfinite(gradient).all(), weight.name
        assert np.abs(gradient).max() > 0, weight.name


def test_bins_lie_at_quantiles_of_the_scaled_training_values():
    """The halves of 1, 3, 5, 7 end at 1, 4, 7: 5.5 fills the first bin and half of the next."""
    kind = Number(Feature("price", "number", "item", "price"), {"layers": 0, "bins": 2})
    kind.fit(pd.Series([1.0, 3.0, 5.0, 7.0]))
    np.testing.assert_allclose(kind.edges[0], [-3 / math.sqrt(5), 0, 3 / math.sqrt(5)], rtol=1e-5)
    found = kind.encoder(3)(np.array([0.0, 2.5, 5.5, 9.0], np.float32))
    np.testing.assert_allclose(found, [[0, 0], [0.5, 0], [1, 0.5], [1, 1]], atol=1e-6)


def test_a_number_and_a_vector_of_one_have_the_same_codes():
    options = {"signed_log": True, "quantiles": 5, "deviations": True, "bins": 3, "layers": 0}
    column = pd.Series(ROWS[:, 0])
    alone = number(**options)
    alone.fit(column)
    as_vector = Vector(Feature("code", "vector", "item", "code"), options)
    as_vector.fit(pd.Series([[float(v)] for v in column]))
    expected = as_vector.encoder(3)(ROWS[:, :1]).numpy()
    np.testing.assert_allclose(alone.encoder(3)(ROWS[:, 0]), expected, atol=1e-5)


def test_codes_of_a_number_come_before_its_bucket():
    kind = number(bins=2, buckets=2)
    kind.fit(pd.Series([1.0, 3.0, 5.0, 7.0]))
    found = kind.encoder(3)(np.array([2.5], np.float32)).numpy()
    np.testing.assert_allclose(found, [[0.5, 0, 1, 0]], atol=1e-6)


def test_signed_logarithms_keep_the_sign():
    """The logarithms of −(e − 1), 0 and e − 1 are −1, 0 and 1, with deviation √(2 / 3)."""
    kind = number(signed_log=True)
    kind.fit(pd.Series([1 - math.e, 0.0, math.e - 1]))
    assert (kind.mean, kind.deviation) == pytest.approx((0, math.sqrt(2 / 3)))
    given = np.array([1 - math.e**2, 0, math.e**2 - 1], np.float32)
    expected = np.array([[-2], [0], [2]]) / math.sqrt(2 / 3)
    np.testing.assert_allclose(kind.encoder(3)(given), expected, rtol=1e-5)
    np.testing.assert_allclose(signed_log(given), [-2, 0, 2], rtol=1e-6)


def test_each_number_has_its_own_dense_layer():
    layer = OwnDense(3)
    codes = np.random.default_rng(1).normal(size=[4, 2, 5]).astype(np.float32)
    found = layer(codes).numpy()
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    for n in range(4):
        for k in range(2):
            np.testing.assert_allclose(found[n, k], codes[n, k] @ kernel[k] + bias[k], atol=1e-5)


def test_embedded_codes_are_never_negative():
    layer = NumberCodes(periodic=2, embed=7)
    assert layer(ROWS).numpy().min() == 0


def test_without_codes_no_layer_is_made():
    assert number_codes((), {"periodic": 0, "frequency": 1.0, "embed": 0}) is None
    assert vector().encoder(3).codes is None
    assert "edges" not in vector().state()


def test_a_column_without_a_number_has_no_bins():
    kind = number(bins=4)
    kind.fit(pd.Series([None, None], dtype=float))
    np.testing.assert_array_equal(kind.encoder(3)(np.array([2.0], np.float32)), [[2]])


def test_a_constant_column_has_codes_of_zero():
    edges = bin_edges(np.full([9, 1], 7.0), 4, Scaled([7.0], [1.0]))
    assert edges == [[0.0]]
    np.testing.assert_array_equal(NumberCodes(edges)(np.array([[3.0]], np.float32)), [[0]])


def test_waves_are_computed_at_full_precision_under_mixed_precision():
    encoder = vector(periodic=3, embed=4).encoder(3)
    expected = encoder(ROWS).numpy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = vector(periodic=3, embed=4).encoder(3)
        mixed(ROWS)
        mixed.set_weights(encoder.get_weights())
        found = mixed(ROWS)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(found, tf.float32), expected, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bins": -1}, "bins: expected 0 or more, got -1"),
        ({"periodic": -1}, "periodic: expected 0 or more, got -1"),
        ({"frequency": 0.0}, "frequency: expected above 0, got 0.0"),
        ({"embed": -2}, "embed: expected 0 or more, got -2"),
        ({"log": True, "signed_log": True}, "log and signed_log are two logarithms"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        number(**options)
