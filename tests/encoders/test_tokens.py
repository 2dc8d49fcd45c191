"""PresentOnly and ModalityTokens: absent values have no effect."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders import tokens
from mmrank.encoders.tokens import ModalityDropout, ModalityTokens, PresentOnly

VALUES = np.random.default_rng(0).normal(size=[6, 3]).astype(np.float32)
PRESENT = np.array([True, False, True, True, False, True])


def layer() -> PresentOnly:
    tf.keras.utils.set_random_seed(2)
    stack = [tf.keras.layers.Dense(4), tf.keras.layers.BatchNormalization(momentum=0.5)]
    return PresentOnly(tf.keras.Sequential(stack))


def statistics(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The result in training, and the moving statistics afterwards."""
    only = layer()
    given = only((tf.constant(values), tf.constant(present)), training=True).numpy()
    return given, [w.numpy() for w in only.encoder.layers[1].non_trainable_weights]


def test_values_of_absent_rows_change_neither_results_nor_statistics():
    other = VALUES.copy()
    other[~PRESENT] = 1e6
    before, moving = statistics(VALUES, PRESENT)
    after, moving_after = statistics(other, PRESENT)
    np.testing.assert_array_equal(after, before)
    for one, two in zip(moving, moving_after, strict=True):
        np.testing.assert_array_equal(one, two)


def test_present_rows_are_those_of_the_encoder_and_the_rest_are_zeros():
    only = layer()
    given = only((tf.constant(VALUES), tf.constant(PRESENT)), training=False).numpy()
    alone = only.encoder(tf.constant(VALUES[PRESENT]), training=False).numpy()
    np.testing.assert_allclose(given[PRESENT], alone, rtol=1e-6)
    assert not given[~PRESENT].any()


@pytest.mark.parametrize("training", [False, True])
def test_zeros_and_finite_gradients_if_no_row_is_present(training):
    only = layer()
    with tf.GradientTape() as tape:
        given = only((tf.constant(VALUES), tf.zeros([6], tf.bool)), training=training)
        value = tf.reduce_sum(given)
    assert not given.numpy().any()
    for gradient in tape.gradient(value, only.trainable_variables):
        assert gradient is None or np.isfinite(gradient.numpy()).all()
    assert all(np.isfinite(w.numpy()).all() for w in only.weights)


def test_a_token_is_the_projection_or_the_learned_vector_of_absence():
    tokens = ModalityTokens(("a", "b"), 4)
    a, b = tf.constant(VALUES), tf.constant(VALUES[:, :2])
    here = [tf.constant(PRESENT), tf.constant(~PRESENT)]
    given = tokens(([a, b], here)).numpy()
    assert given.shape == (6, 2, 4)
    for i, (value, present) in enumerate([(VALUES, PRESENT), (VALUES[:, :2], ~PRESENT)]):
        kernel, bias = [w.numpy() for w in tokens.projections[i].weights]
        raw = value @ kernel + bias
        normal = (raw - raw.mean(1, keepdims=True)) / np.sqrt(raw.var(1, keepdims=True) + 1e-5)
        expected = np.where(present[:, None], normal, tokens.absent.numpy()[i])
        np.testing.assert_allclose(given[:, i], expected, atol=1e-5)


def test_modality_dropout_hides_at_its_rates_and_never_everything():
    tf.keras.utils.set_random_seed(3)
    hide = ModalityDropout([0.5, 0.2, 0.0])
    present = np.ones([20_000, 3], bool)
    present[:, 2] = np.arange(20_000) % 2 == 0
    present[:10] = False
    kept = hide(tf.constant(present), training=True).numpy()
    assert not kept[~present].any()
    assert kept[10:].any(1).all()
    # With a third modality that is never hidden, the rates are as configured. Without it, rows that
    # would lose both (0.5 x 0.2 of them) keep both.
    whole, pair = kept[10:][present[10:, 2]], kept[10:][~present[10:, 2]]
    np.testing.assert_allclose(whole.mean(0), [0.5, 0.8, 1.0], atol=0.02)
    np.testing.assert_allclose(pair.mean(0), [0.6, 0.9, 0.0], atol=0.02)


def test_modality_dropout_does_nothing_outside_training():
    present = tf.constant([[True, False], [False, False], [True, True]])
    given = ModalityDropout([0.9, 0.9])(present, training=False)
    np.testing.assert_array_equal(given, present)


def test_static_shapes_change_nothing_and_xla_compiles_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = layer()
    values = tf.constant(np.random.default_rng(0).normal(size=(6, 3)), tf.float32)
    present = tf.constant([True, False, True, True, False, False])
    spoiled = tf.where(present[:, None], values, np.nan)
    expected = only((spoiled, present), training=False)
    monkeypatch.setattr(tokens, "static_shapes", lambda: True)
    compiled = tf.function(lambda v, p: only((v, p), training=False), jit_compile=True)
    np.testing.assert_allclose(compiled(spoiled, present), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(compiled(spoiled, tf.zeros([6], tf.bool)), 0)


def test_an_unnormed_token_keeps_its_length():
    layer = ModalityTokens(("a", "b"), 4, unnormed=("b",))
    values = np.random.default_rng(0).normal(size=[3, 2]).astype(np.float32)
    there = np.ones(3, bool)
    first, twice = (layer(([k * values] * 2, [there, there])).numpy() for k in (1, 2))
    np.testing.assert_allclose(twice[:, 0], first[:, 0], rtol=0.05, atol=0.05)
    np.testing.assert_allclose(twice[:, 1], 2 * first[:, 1], rtol=1e-5)
    np.testing.assert_allclose(first[:, 1], values @ layer.projections[1].kernel.numpy(), rtol=1e-5)
    assert ModalityTokens.from_config(layer.get_config()).unnormed == ("b",)
