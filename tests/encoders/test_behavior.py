"""Attention over the history: the mask, the order of events, affinities, event dropout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.behavior import BehaviorAttention, History, collaborative_loss
from mmrank.schema import Feature

LISTS, LENGTH, EVENTS, WIDTH, TYPES, HEADS, STEPS = 2, 3, 6, 8, 3, 2, 12

Inputs = tuple[np.ndarray, ...]


@pytest.fixture
def inputs() -> Inputs:
    """Candidates, events, types, ages and mask; six events, and four plus two of padding."""
    rng = np.random.default_rng(0)
    ages = np.array([[400, 30, 3, 1, 0.5, 0.01], [9, 8, 7, -1, 0, 0]])
    mask = np.array([[True] * 6, [True] * 4 + [False] * 2])
    return (
        rng.normal(size=[LISTS, LENGTH, WIDTH]).astype(np.float32),
        rng.normal(size=[LISTS, EVENTS, WIDTH]).astype(np.float32),
        rng.integers(0, TYPES, [LISTS, EVENTS]).astype(np.int32),
        ages.astype(np.float32),
        mask,
    )


def layer(event_dropout: float = 0.0) -> BehaviorAttention:
    """A layer with random weights, including those that are initialised to zero."""
    tf.keras.utils.set_random_seed(1)
    tf.keras.backend.experimental.enable_tf_random_generator()
    made = BehaviorAttention(
        WIDTH,
        types=TYPES,
        heads=HEADS,
        age_steps=STEPS,
        dropout=0.0,
        event_dropout=event_dropout,
    )
    shapes = ([1, 1, WIDTH], [1, 1, WIDTH], [1, 1], [1, 1], [1, 1])
    dtypes = (tf.float32, tf.float32, tf.int32, tf.float32, tf.bool)
    made(tuple(tf.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)))
    for weight in made.trainable_weights:
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.3))
    return made


def said(made: BehaviorAttention, inputs: Inputs, training: bool = False) -> list[np.ndarray]:
    return [o.numpy() for o in made(tuple(tf.constant(i) for i in inputs), training=training)]


def assert_same(given: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_shapes_of_the_results(inputs):
    shapes = [o.shape for o in said(layer(), inputs)]
    assert shapes == [(LISTS, LENGTH, WIDTH), (LISTS, WIDTH), (LISTS, LENGTH, HEADS)]


def test_masked_events_change_nothing(inputs):
    candidates, items, types, ages, mask = inputs
    other = [a.copy() for a in (items, types, ages)]
    for array, value in zip(other, (1e3, 1, 77.0), strict=True):
        array[~mask] = value
    made = layer()
    assert_same(said(made, (candidates, *other, mask)), said(made, inputs))
    cut = [a[1:, :4] for a in (items, types, ages, mask)]
    assert_same(said(made, (candidates[1:], *cut)), [o[1:] for o in said(made, inputs)])


def test_the_order_of_events_changes_nothing(inputs):
    """The order of events has no effect; only their ages do."""
    candidates, *events = inputs
    order = [4, 0, 5, 2, 1, 3]
    made = layer()
    assert_same(said(made, (candidates, *[e[:, order] for e in events])), said(made, inputs))


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_item_type_and_age_of_an_event_matter(inputs, changed):
    other = [a.copy() for a in inputs]
    other[changed][0, 2] = (other[changed][0, 2] + 1) % 3 if changed == 2 else 90
    made = layer()
    for one, two in zip(said(made, other), said(made, inputs), strict=True):
        assert np.abs(one - two)[0].max() > 1e-4
        assert not np.abs(one - two)[1].any()


def test_affinity_is_a_weighted_sum_of_similarities(inputs):
    """The affinity per candidate, head and event equals that of plain NumPy."""
    candidates, items, types, ages, mask = inputs
    made = layer()
    affinity = said(made, inputs)[2]
    (liked, liked_bias), (offered, offered_bias) = (
        [w.numpy() for w in s.weights] for s in (made.liked, made.offered)
    )
    by_type, by_age = (t.embeddings.numpy() for t in (made.type_weight, made.age_weight))
    key = len(liked_bias) // HEADS
    for b in range(LISTS):
        for i in range(LENGTH):
            wants = (candidates[b, i] @ offered + offered_bias).reshape(HEADS, key)
            expected = np.zeros(HEADS)
            for e in np.flatnonzero(mask[b]):
                has = (items[b, e] @ liked + liked_bias).reshape(HEADS, key)
                hours = max(float(ages[b, e]), 0.0) * 24
                bucket = min(int(1.5 * np.log2(1 + hours)), STEPS - 1)
                weight = 1 + by_type[types[b, e]] + by_age[bucket]
                expected += weight * (wants * has).sum(1)
            expected /= np.sqrt(mask[b].sum())
            np.testing.assert_allclose(affinity[b, i], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_an_empty_history_is_finite_and_so_are_its_gradients(inputs, training):
    made = layer(event_dropout=0.5)
    empty = (*inputs[:4], np.zeros_like(inputs[4]))
    none = tuple(a[:, :0] if n else a for n, a in enumerate(inputs))
    for given in (empty, none):
        with tf.GradientTape() as tape:
            results = made(tuple(tf.constant(a) for a in given), training=training)
            value = tf.add_n([tf.reduce_sum(r**2) for r in results])
        assert all(np.isfinite(r.numpy()).all() for r in results)
        assert not results[2].numpy().any()
        for gradient in tape.gradient(value, made.trainable_variables):
            if gradient is not None:
                assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all()


def test_event_dropout_keeps_the_latest_event_and_is_on_in_training_only(inputs):
    """A dropout rate of almost one drops every event that may be dropped."""
    made = layer(event_dropout=0.9999)
    latest = np.zeros_like(inputs[4])
    latest[0, 5] = latest[1, 3] = True
    assert_same(said(made, inputs, training=True), said(made, (*inputs[:4], latest)))
    plain = layer()
    for own, weight in zip(plain.trainable_weights, made.trainable_weights, strict=True):
        own.assign(weight)
    assert_same(said(made, inputs), said(plain, inputs, training=True))


def history(side: str = "user", **options: object) -> History:
    return History(Feature("history", "history", side, "history"), options)


def test_types_are_numbered_alphabetically_and_0_is_any_other():
    one, other = history(), history()
    one.fit(pd.Series(["view", "buy", None, "view"]))
    other.restore(one.state())
    assert one.types == ("buy", "view")
    given = other.numbers(pd.Series(["view", "buy", "return", None]), 4)
    assert (given.tolist(), given.dtype) == ([2, 1, 0, 0], np.int32)
    assert other.numbers(None, 3).tolist() == [0, 0, 0]
    assert other.encoder(WIDTH).type_table.input_dim == 3


def test_a_history_must_be_on_the_side_of_the_user():
    with pytest.raises(ConfigError, match="cannot be on side 'item'; use user"):
        history("item")


def test_config_makes_the_same_layer():
    made = layer(event_dropout=0.25)
    assert BehaviorAttention.from_config(made.get_config()).get_config() == made.get_config()


def test_collaborative_loss_equals_plain_loops() -> None:
    generator = np.random.default_rng(0)
    lists, events, heads, width = 3, 4, 2, 3
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    liked = generator.normal(size=(lists, events, heads, width)) * mask[..., None, None]
    offered = generator.normal(size=(lists, events, heads, width))
    h, bias = np.array([0.5, -1.0]), 0.2
    losses = []
    for b in (0, 1):  # the third list has only one event
        own = [e for e in range(events) if mask[b, e]]
        for e in own:
            p = sum(liked[b, o] for o in own if o != e) / np.sqrt(len(own) - 1)
            logit = sum(h[n] * p[n] @ offered[b, e, n] for n in range(heads)) + bias
            losses.append(np.log1p(np.exp(-logit)))
        p = sum(liked[b, o] for o in own) / np.sqrt(len(own))
        for other in ((b + 1) % lists, (b + 2) % lists):  # two, whatever is drawn
            for e in np.flatnonzero(mask[other]):
                logit = sum(h[n] * p[n] @ offered[other, e, n] for n in range(heads)) + bias
                losses.append(np.log1p(np.exp(logit)))
    given = [tf.constant(a, tf.float32) for a in (liked, offered)]
    found = collaborative_loss(*given, tf.constant(mask), tf.constant(h), tf.constant(bias))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


def test_the_collaborative_loss_is_added_in_training_only() -> None:
    generator = np.random.default_rng(1)
    candidates, events = (generator.normal(size=(3, n, 8)).astype(np.float32) for n in (2, 5))
    inputs = (
        *(candidates, events, np.zeros([3, 5], np.int32), np.ones([3, 5], np.float32)),
        np.ones([3, 5], bool),
    )
    for weight in (0.0, 0.5, 1.0):
        tf.keras.utils.set_random_seed(0)
        layer = BehaviorAttention(
            8, types=2, heads=2, age_steps=4, dropout=0.0, collaborative_weight=weight
        )
        layer(inputs, training=False)
        assert layer.losses == []
        with tf.GradientTape() as tape:
            layer(inputs, training=True)
            total = tf.add_n(layer.losses) if weight else tf.constant(0.0)
        if not weight:
            assert layer.losses == []
            continue
        assert float(total) > 0
        gradients = tape.gradient(total, [*layer.offered.weights, *layer.liked.weights])
        assert all(np.isfinite(g).all() and np.any(g) for g in gradients)
        if weight == 0.5:
            half = float(total)
    np.testing.assert_allclose(float(total), 2 * half, rtol=1e-5)
