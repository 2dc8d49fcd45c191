"""Periodic codes: the formula in a plain loop, and frequencies that learn."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from mmrank.encoders.periodic import Periodic

VALUES = np.random.default_rng(0).normal(size=[3, 2]).astype(np.float32)


def test_codes_are_sines_then_cosines_of_each_numbers_own_frequencies():
    layer = Periodic(4, 1.0)
    codes = layer(VALUES).numpy()
    assert codes.shape == (3, 2, 8)
    frequencies = layer.frequencies.numpy()
    for n, row in enumerate(VALUES):
        for k, x in enumerate(row):
            turns = [2 * math.pi * float(c) * float(x) for c in frequencies[k]]
            expected = [math.sin(t) for t in turns] + [math.cos(t) for t in turns]
            np.testing.assert_allclose(codes[n, k], expected, atol=1e-5)


def test_frequencies_begin_with_the_given_spread():
    tf.keras.utils.set_random_seed(0)
    layer = Periodic(4000, 0.25)
    layer(VALUES)
    np.testing.assert_allclose(layer.frequencies.numpy().std(), 0.25, rtol=0.05)


def test_gradients_reach_the_frequencies_and_are_finite():
    layer = Periodic(3, 1.0)
    given = tf.constant([[0.0, 5.0], [-5.0, 1e-30]])
    layer(given)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(given) ** 3)
    (gradient,) = tape.gradient(loss, layer.trainable_weights)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
