"""The cross-encoder: pairs, masks, sub-batches, gradients, and rescoring of the best."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.encoders.hf_folder import BertShape
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.rescore import best, rescored

SHAPE = BertShape(50, 16, 2, 2, 32, 20)
START, END = 2, 3


def encoder(seed: int = 0, zero: bool = False, **options: object) -> CrossEncoder:
    tf.keras.utils.set_random_seed(seed)
    layer = CrossEncoder(SHAPE, start=START, end=END, **options)
    layer.build(None)
    if not zero:
        layer.score.kernel.assign(tf.random.stateless_normal(layer.score.kernel.shape, [1, 2]))
    return layer


@pytest.fixture(scope="module")
def lists() -> tuple[np.ndarray, ...]:
    """Three lists of 5, 3 and 2 candidates; the last has no query, and some items have no text."""
    random = np.random.default_rng(0)
    asked = random.integers(1, 50, (3, 4)) * (np.arange(4) < [[2], [3], [0]])
    offered = random.integers(1, 50, (3, 5, 6)) * (np.arange(6) < random.integers(0, 7, (3, 5, 1)))
    mask = np.arange(5) < [[5], [3], [2]]
    first = random.normal(size=(3, 5, 1))
    return asked.astype("f"), offered.astype("f"), mask, first.astype("f")


def by_hand(layer: CrossEncoder, asked: np.ndarray, offered: np.ndarray) -> float:
    """The score of one pair that is read alone, without padding."""
    query, item = asked[asked > 0] - 1, offered[offered > 0] - 1
    ids = np.concatenate([[START], query, [END], item, [END]]).astype(np.int32)
    segments = np.repeat([0, 1], [len(query) + 2, len(item) + 1]).astype(np.int32)
    tokens = layer.bert(
        {
            "token_ids": ids[None],
            "segment_ids": segments[None],
            "padding_mask": np.ones_like(ids)[None],
        }
    ).numpy()[0]
    one, other = tokens[segments == 0].mean(0), tokens[segments == 1].mean(0)
    vector = np.concatenate([tokens[0], one * other, np.abs(one - other)])
    hidden = np.tanh(vector @ layer.hidden.kernel.numpy() + layer.hidden.bias.numpy())
    return (hidden @ layer.score.kernel.numpy() + layer.score.bias.numpy()).item()


@pytest.mark.parametrize("sub_batch", [1, 3, 100])
def test_a_score_depends_on_its_own_pair_only(lists: tuple, sub_batch: int) -> None:
    asked, offered, mask, first = lists
    layer = encoder(sub_batch=sub_batch)
    scores = layer(lists).numpy()[..., 0]
    for b, i in np.argwhere(mask):
        want = first[b, i, 0] + by_hand(layer, asked[b], offered[b, i])
        assert scores[b, i] == pytest.approx(want, abs=2e-4)
    np.testing.assert_array_equal(scores[~mask], first[..., 0][~mask])


def test_padding_changes_nothing(lists: tuple) -> None:
    asked, offered, mask, first = lists
    layer = encoder(sub_batch=4)
    other = np.where(mask[..., None], offered, 7)
    np.testing.assert_array_equal(layer((asked, other, mask, first)), layer(lists))
    nobody = layer((asked, offered, np.zeros_like(mask), first))
    np.testing.assert_array_equal(nobody, first)


def test_a_new_cross_encoder_adds_zero(lists: tuple) -> None:
    np.testing.assert_array_equal(encoder(zero=True)(lists), lists[-1])
    alone = encoder(alone=True)(lists) + lists[-1]
    np.testing.assert_allclose(alone, encoder()(lists), atol=1e-5)


def test_gradients_equal_those_without_sub_batches(lists: tuple) -> None:
    found = []
    for options in ({"recompute": False}, {"recompute": True, "sub_batch": 3}):
        layer = encoder(**options)

        @tf.function
        def gradients(layer: CrossEncoder = layer) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                scores = layer(lists, training=True)
                loss = -tf.reduce_mean(tf.nn.log_softmax(scores[..., 0])[:, 0])
            given = tape.gradient(loss, layer.trainable_variables)
            return [tf.convert_to_tensor(g) for g in given]

        found.append([g.numpy() for g in gradients()])
    assert len(found[0]) == 4 + 5 + 2 * 16  # dense layers, embeddings, transformer layers
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
    assert all(np.abs(g).max() > 0 for g in found[0] if g.shape[0] > 2)


def test_training_reads_all_candidates_and_ranking_the_best(lists: tuple) -> None:
    layer, every = encoder(rescore=2), encoder()
    mask, first = lists[2], lists[3][..., 0]
    everything = every(lists).numpy()[..., 0]
    np.testing.assert_allclose(layer(lists, training=True).numpy()[..., 0], everything, atol=1e-5)
    scores = layer(lists).numpy()[..., 0]
    for b in range(3):
        real = np.flatnonzero(mask[b])
        order = real[np.argsort(-first[b, real])]
        top, rest = order[:2], order[2:]
        np.testing.assert_allclose(scores[b, top], everything[b, top], atol=1e-5)
        assert (scores[b, rest] <= scores[b, top].min()).all()
        assert (np.diff(scores[b, rest]) < 0).all()  # in their original order


def test_permuted_candidates_have_permuted_scores(lists: tuple) -> None:
    asked, offered, mask, first = lists
    first = np.round(first)  # some first scores are equal
    order = np.random.default_rng(3).permutation(5)
    layer = encoder(rescore=2, sub_batch=3)
    straight = layer((asked, offered, mask, first)).numpy()
    turned = layer((asked, offered[:, order], mask[:, order], first[:, order])).numpy()
    np.testing.assert_allclose(turned, straight[:, order], atol=1e-5)


def test_the_best_candidates_are_chosen() -> None:
    scores = tf.constant([[3.0, 1.0, 2.0, 2.0, 9.0], [1.0, 2.0, 0.0, 0.0, 0.0]])
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], bool)
    assert best(scores, mask, 1).numpy().tolist() == [
        [True, False, False, False, False],
        [False, True, False, False, False],
    ]
    # Candidates with equal scores are chosen or not chosen together; padding is never chosen.
    assert best(scores, mask, 2).numpy()[0].tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(best(scores, mask, 9), mask)


def test_the_other_candidates_rank_below() -> None:
    first = tf.constant([[5.0, 4.0, 3.0, 2.0]])
    chosen = np.array([[True, True, False, False]])
    again = np.array([[1.0, 6.0, 0.0, 0.0]], np.float32)
    # The lowest chosen score fell from 4 to 1, so the others are lowered by the same amount.
    np.testing.assert_allclose(rescored(first, again, chosen), [[1.0, 6.0, 0.0, -1.0]])
    # If they are already lower, they stay unchanged.
    np.testing.assert_allclose(rescored(first, again + 9, chosen), [[10.0, 15.0, 3.0, 2.0]])


def test_a_layer_is_made_again_from_its_config(lists: tuple) -> None:
    layer = encoder(rescore=2, outputs=1)
    again = CrossEncoder.from_config(layer.get_config())
    again.build(None)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(lists), layer(lists), atol=1e-6)
