"""Numbers: presence, normalisation by hand, buckets, and full precision."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.number import Number
from mmrank.schema import Feature


def number(**options: object) -> Number:
    return Number(Feature("price", "number", "item", "price"), options)


def fed(kind: Number, value: float) -> np.ndarray:
    """The input of the first dense layer of the kind's encoder."""
    encoder = kind.encoder(4)
    encoder(tf.constant([value]))
    seen = []
    encoder.hidden = lambda x: seen.append(x.numpy()[0]) or tf.zeros([1, 4])
    encoder.call(tf.constant([value], tf.float32))
    return seen[0]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.0, None, np.inf, -2.0]),
        pd.Series(["1", "", "many", "-2"]),
        pd.Series(["1", None, "NA", "-2"], dtype="string"),
        pd.Series([1, None, None, -2], dtype="Int64"),
    ],
)
def test_values_that_are_not_finite_numbers_are_absent(column):
    values, present = number().read(column, None)
    assert present.tolist() == [True, False, False, True]
    assert values.tolist() == [1.0, 0.0, 0.0, -2.0]
    assert values.dtype == np.float32


def test_values_are_standardised_by_present_training_values():
    kind = number()
    kind.fit(pd.Series([1.0, 3.0, None, 5.0]))
    deviation = math.sqrt((4 + 0 + 4) / 3)
    assert fed(kind, 4.0) == pytest.approx([(4 - 3) / deviation], rel=1e-5)
    assert fed(kind, 1e9) == pytest.approx([5.0])


def test_the_logarithm_is_taken_before_scaling():
    kind = number(log=True)
    kind.fit(pd.Series([0.0, math.e - 1, -7.0]))  # 0, 1 and 0 after the logarithm
    mean, deviation = 1 / 3, math.sqrt((1 / 9 + 4 / 9 + 1 / 9) / 3)
    assert fed(kind, math.e**2 - 1) == pytest.approx([(2 - mean) / deviation], rel=1e-5)


def test_buckets_are_quantiles_in_one_hot():
    kind = number(buckets=4)
    kind.fit(pd.Series([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert kind.boundaries == (1.0, 2.0, 3.0)
    for value, bucket in [(0.5, 0), (1.0, 1), (2.9, 2), (3.0, 3), (99.0, 3)]:
        assert fed(kind, value)[1:].tolist() == [float(b == bucket) for b in range(4)]


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0, 1e6])
def test_a_constant_column_is_finite(value):
    """The mean of 100 times 0.1 is not exactly 0.1: the deviation is only rounding, not a scale."""
    kind = number()
    kind.fit(pd.Series([value] * 100))
    assert kind.deviation == 1.0


def test_quantiles_replace_deviations_after_the_logarithm():
    """The tertiles of 0, 1, 2, 3 are the knots: 1.5 is in the middle, and 9 counts as 3."""
    kind = number(log=True, quantiles=3, layers=0)
    kind.fit(pd.Series(np.expm1([0.0, 1.0, 2.0, 3.0])))
    np.testing.assert_allclose(kind.knots[0], [0, 1, 2, 3], rtol=1e-6)
    given = np.expm1([0.0, 1.5, 9.0]).astype(np.float32)
    expected = np.array([[-1], [0], [1]]) * np.sqrt(3)
    np.testing.assert_allclose(kind.encoder(4)(given), expected, atol=1e-5)
    both = number(log=True, quantiles=3, deviations=True, layers=0, buckets=2)
    both.fit(pd.Series(np.expm1([0.0, 1.0, 2.0, 3.0])))
    scaled = [(v - 1.5) / math.sqrt(1.25) for v in (0, 1.5)] + [5.0]
    found = both.encoder(4)(given).numpy()
    np.testing.assert_allclose(found[:, :1], expected, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], scaled, atol=1e-5)
    np.testing.assert_array_equal(found[:, 2:], [[1, 0], [0, 1], [0, 1]])
    assert both.unnormed is False
    assert number(norm=False).unnormed


def test_noise_is_added_in_training_only():
    encoder = number(noise=0.5, layers=0).encoder(4)
    given = np.full(4000, 2, np.float32)
    np.testing.assert_array_equal(encoder(given), np.full([4000, 1], 2))
    np.testing.assert_allclose(encoder(given, training=True).numpy().std(), 0.5, rtol=0.1)


@pytest.mark.parametrize("options", [{"layers": 1}, {"quantiles": -1}, {"deviations": True}])
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError, match="feature 'price'"):
        number(**options)


def test_a_column_without_a_number_fits_nothing():
    kind = number(buckets=3)
    kind.fit(pd.Series([None, None], dtype=float))
    assert (kind.mean, kind.deviation, kind.boundaries) == (0.0, 1.0, ())


def test_what_was_fitted_survives_a_round_trip():
    kind, other = number(buckets=4, quantiles=2), number(buckets=4, quantiles=2)
    kind.fit(pd.Series([1.0, 2.0, 8.0]))
    other.restore(kind.state())
    assert fed(other, 3.0).tolist() == fed(kind, 3.0).tolist()


def test_years_differ_under_mixed_precision():
    kind = number()
    kind.fit(pd.Series([2000.0, 2001.0, 2002.0, 2003.0]))
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        values = [float(fed(kind, year)[0]) for year in (2000.0, 2001.0, 2002.0, 2003.0)]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    deviation = math.sqrt((2.25 + 0.25) / 2)
    assert values == pytest.approx([(y - 1.5) / deviation for y in range(4)], abs=0.01)
