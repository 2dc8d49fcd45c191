"""The recurrent list context: the order and its inverse, against plain NumPy loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.list_context import SLICES, ListContext, put_back, reading_order

LISTS, LENGTH, WIDTH, UNITS = 4, 6, 5, 3
LENGTHS = [6, 4, 1, 0]


@pytest.fixture
def lists() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, scores with ties, and a mask with padding in the middle."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=[LISTS, LENGTH, WIDTH]).astype(np.float32)
    scores = rng.integers(-2, 2, [LISTS, LENGTH]).astype(np.float32)
    mask = np.zeros([LISTS, LENGTH], bool)
    for row, count in enumerate(LENGTHS):
        mask[row, rng.permutation(LENGTH)[:count]] = True
    scores[~mask] = 9
    assert len(np.unique(scores[0])) < LENGTH
    return vectors, scores, mask


def order_by_hand(scores: np.ndarray, ties: np.ndarray, mask: np.ndarray, top: int | None):
    """The slots of the candidates of one list that are read, by increasing score."""
    real = [i for i in range(LENGTH) if mask[i]]
    rising = sorted(real, key=lambda i: (scores[i], ties[i]))
    return rising if top is None else rising[-top:]


@pytest.mark.parametrize("top", [None, 1, 3, 50])
def test_the_reading_order_and_its_inverse(lists, top):
    vectors, scores, mask = lists
    ties = vectors.sum(-1)
    order, read = (x.numpy() for x in reading_order(tf.constant(scores), ties, mask, top))
    assert order.shape == read.shape == (LISTS, min(top or LENGTH, LENGTH))
    values = np.random.default_rng(6).normal(size=order.shape).astype(np.float32)
    values[~read] = 0
    back = put_back(tf.constant(values), tf.constant(order), tf.constant(LENGTH)).numpy()
    for row in range(LISTS):
        expected = order_by_hand(scores[row], ties[row], mask[row], top)
        assert order[row][read[row]].tolist() == expected
        assert read[row].tolist() == sorted(read[row], reverse=True)  # padding comes last
        placed = np.zeros(LENGTH)
        for step, position in enumerate(expected):
            placed[position] = values[row, step]
        np.testing.assert_array_equal(back[row], placed.astype(np.float32))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gru(rows: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """The states [N, U] of a GRU (Cho et al. 2014, reset after the product, as in cuDNN)."""
    kernel, recurrent, (bias, recurrent_bias) = weights
    state, states = np.zeros(UNITS), []
    for row in rows:
        xz, xr, xh = np.split(row @ kernel + bias, 3)
        hz, hr, hh = np.split(state @ recurrent + recurrent_bias, 3)
        update, reset = sigmoid(xz + hz), sigmoid(xr + hr)
        state = update * state + (1 - update) * np.tanh(xh + reset * hh)
        states.append(state)
    return np.array(states)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("top", [None, 3])
def test_the_context_terms_in_numpy(lists, top, bidirectional):
    """The order, the GRU, the comparison of each output with the last state, and the slots."""
    vectors, scores, mask = lists
    layer = ListContext(UNITS, top, bidirectional)
    layer((vectors, scores, mask))  # creates the weights
    rng = np.random.default_rng(7)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    given = layer((vectors, scores, mask)).numpy()
    assert given.dtype == np.float32
    weights = layer.recurrent.get_weights()
    w, b = layer.facing.get_weights()
    (v,) = layer.term.get_weights()
    for row in range(LISTS):
        order = order_by_hand(scores[row], vectors[row].sum(-1), mask[row], top)
        expected = np.zeros(LENGTH)
        if order:
            rows = vectors[row][order]
            outputs = gru(rows, weights[:3])
            last = outputs[-1]
            if bidirectional:
                backward = gru(rows[::-1], weights[3:])
                outputs = np.concatenate([outputs, backward[::-1]], 1)
                last = np.concatenate([last, backward[-1]])
            facing = np.tanh(last @ w + b).reshape(SLICES, -1)
            for step, position in enumerate(order):
                expected[position] = sum(v[k, 0] * outputs[step] @ facing[k] for k in range(SLICES))
        np.testing.assert_allclose(given[row], expected, atol=1e-4)


def test_permuting_candidates_permutes_vectors_even_for_equal_scores(lists):
    vectors, scores, mask = lists
    layer = ListContext(UNITS)
    turned = np.array([3, 5, 0, 1, 4, 2])
    for same in (scores, np.zeros_like(scores)):
        expected = layer((vectors, same, mask)).numpy()
        given = layer((vectors[:, turned], same[:, turned], mask[:, turned])).numpy()
        np.testing.assert_allclose(given, expected[:, turned], atol=1e-6)


def test_mixed_precision_keeps_the_order_of_close_scores(lists):
    """Rounded to bfloat16, these scores would be equal."""
    vectors, _, mask = lists
    close = (1 + 1e-4 * np.arange(LENGTH, dtype=np.float32)) * np.ones([LISTS, 1], np.float32)
    layer = ListContext(UNITS, dtype=tf.keras.mixed_precision.Policy("mixed_bfloat16"))
    halves = tf.cast(vectors, tf.bfloat16)
    given = layer((halves, close, mask)).numpy()
    other = layer((halves, close[:, ::-1].copy(), mask)).numpy()
    assert given.dtype == np.float32
    assert np.abs(given - other)[0].max() > 1e-3
