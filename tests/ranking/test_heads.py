"""The listwise head: padding, permutations, gradients and its config."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.heads import ListwiseHead

WIDTH = 5
VECTORS = np.random.default_rng(0).normal(size=[2, 4, WIDTH]).astype(np.float32)
MASK = np.array([[True, True, True, False], [True, True, True, True]])


@pytest.fixture(params=[0, 2], ids=["alone", "attention"])
def head(request) -> ListwiseHead:
    tf.keras.utils.set_random_seed(2)
    made = ListwiseHead(
        hidden=(32, 16),
        dropout=0.2,
        attention_layers=request.param,
        attention_heads=2,
        attention_width=3,
        name="head",
    )
    made((VECTORS, MASK))
    for weight in made.trainable_weights:  # biases start at zero and would hide themselves
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.1))
    return made


def scores(head: ListwiseHead, vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return head((tf.constant(vectors), tf.constant(mask)), training=False).numpy()


def test_padding_scores_zero_and_candidates_do_not(head):
    given = scores(head, VECTORS, MASK)
    assert given.dtype == np.float32
    assert (given != 0).tolist() == MASK.tolist()


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_more_padding_changes_nothing_whatever_it_holds(head, value):
    wide = np.concatenate([VECTORS, np.full([2, 3, WIDTH], value, np.float32)], 1)
    wide[~np.pad(MASK, [(0, 0), (0, 3)])] = value
    given = scores(head, wide, np.pad(MASK, [(0, 0), (0, 3)]))
    np.testing.assert_allclose(given[:, :4], scores(head, VECTORS, MASK), atol=1e-6)
    assert not given[:, 4:].any()


def test_permuting_candidates_permutes_scores(head):
    order = [3, 1, 0, 2]
    given = scores(head, VECTORS[:, order], MASK[:, order])
    np.testing.assert_allclose(given, scores(head, VECTORS, MASK)[:, order], atol=1e-6)


def test_only_attention_lets_a_candidate_move_the_score_of_another(head):
    other = VECTORS.copy()
    other[0, 1] += 2
    moved = np.abs(scores(head, other, MASK) - scores(head, VECTORS, MASK))
    assert moved[0, 1] > 1e-4
    assert (moved[0, [0, 2]] > 1e-6).all() == (head.attention is not None)
    assert (moved[1] < 1e-6).all()


@pytest.mark.parametrize("empty", [False, True])
def test_gradients_are_finite_even_for_a_list_of_padding(head, empty):
    mask = MASK & [[not empty], [True]]
    vectors = tf.constant(VECTORS)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        value = tf.reduce_sum(head((vectors, tf.constant(mask)), training=True) ** 2)
    by_vectors, *by_weights = tape.gradient(value, [vectors, *head.trainable_variables])
    for gradient in (by_vectors, *by_weights):
        assert np.isfinite(gradient.numpy()).all()
    assert not by_vectors.numpy()[~mask].any()


def test_config_makes_the_same_head(head):
    again = ListwiseHead.from_config(head.get_config())
    assert again.get_config() == head.get_config()
    again((VECTORS, MASK))
    again.set_weights(head.get_weights())
    np.testing.assert_array_equal(scores(again, VECTORS, MASK), scores(head, VECTORS, MASK))
