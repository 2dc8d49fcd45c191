"""Towers that share an encoder: one layer, one batch in training, the same scores."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.data.batches import Batch
from mmrank.fusion import make_fusion
from mmrank.models import RankingModel, ranking_model
from mmrank.ranking.heads import ListwiseHead
from mmrank.scoring import score_with_table
from mmrank.towers import FeatureEncoder

SPEC = tf.TensorSpec([None, 3])


def ranker(*features: FeatureEncoder) -> RankingModel:
    head = ListwiseHead(
        hidden=(4,), dropout=0.0, attention_layers=0, attention_heads=1, attention_width=4
    )
    return ranking_model(features, width=4, fusion=make_fusion("concat", {}), head=head)


def norm() -> tf.keras.Model:
    """An encoder whose moving averages are those of the last batch."""
    norm = tf.keras.layers.BatchNormalization(momentum=0.0, name="norm")
    return tf.keras.Sequential([tf.keras.Input(3), norm])


@pytest.fixture
def batch() -> Batch:
    """Two lists of three and two candidates, five items, one of them without a photo."""
    rng = np.random.default_rng(0)
    return {
        "photo": rng.normal(5, 1, [5, 3]).astype(np.float32),
        "photo_present": np.array([True, True, False, True, True]),
        "seen": rng.normal(-5, 2, [2, 3]).astype(np.float32),
        "seen_present": np.array([True, True]),
        "slots": np.array([[0, 1, 2], [3, 4, 0]], np.int32),
        "mask": np.array([[True, True, True], [True, True, False]]),
    }


def fed(batch: Batch) -> dict[str, tf.Tensor]:
    return {n: tf.constant(v) for n, v in batch.items()}


def shared() -> tuple[RankingModel, tf.keras.Model]:
    tf.keras.utils.set_random_seed(1)
    encoder = norm()
    model = ranker(
        FeatureEncoder("photo", "item", SPEC, encoder),
        FeatureEncoder("seen", "query", SPEC, encoder),
    )
    return model, encoder


def test_a_shared_encoder_is_one_layer_in_both_towers(batch: Batch) -> None:
    model, encoder = shared()
    weights = {id(w) for w in encoder.weights}
    for graph in (model.item_tower, model.context_tower, model.network):
        assert weights <= {id(w) for w in graph.weights}
    apart = ranker(
        FeatureEncoder("photo", "item", SPEC, norm()),
        FeatureEncoder("seen", "query", SPEC, norm()),
    )
    assert len(apart.network.weights) == len(model.network.weights) + len(weights)


def test_batch_statistics_are_those_of_items_and_queries_together(batch: Batch) -> None:
    model, encoder = shared()
    model.network(fed(batch), training=True)
    rows = np.concatenate([batch["photo"][batch["photo_present"]], batch["seen"]])
    moving_mean, moving_variance = encoder.get_layer("norm").get_weights()[2:]
    np.testing.assert_allclose(moving_mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moving_variance, rows.var(0), rtol=1e-4)


def test_scores_from_a_table_of_vectors_are_the_same(batch: Batch) -> None:
    model, _ = shared()
    model.network(fed(batch), training=True)  # moving averages that are not the initial ones
    scores = model.network(fed(batch), training=False).numpy()
    items = fed({n: batch[n] for n in ("photo", "photo_present")})
    table = model.item_tower(items, training=False)
    np.testing.assert_allclose(score_with_table(model, table, fed(batch)), scores, atol=1e-5)
    assert len(np.unique(scores[batch["mask"]].round(6))) > 2  # the scores differ


def test_stored_vectors_of_an_absent_query_change_nothing(batch: Batch) -> None:
    model, encoder = shared()
    batch["seen_present"] = np.array([False, False])
    scores = model.network(fed(batch), training=False).numpy()
    assert np.isfinite(scores).all()
    other = batch | {"seen": np.full([2, 3], 1e6, np.float32)}
    np.testing.assert_array_equal(model.network(fed(other), training=False), scores)
    model.network(fed(other), training=True)
    rows = batch["photo"][batch["photo_present"]]
    np.testing.assert_allclose(encoder.get_layer("norm").get_weights()[2], rows.mean(0), rtol=1e-5)


def test_gradients_of_a_shared_encoder_are_finite_and_come_from_both(batch: Batch) -> None:
    model, encoder = shared()
    for flag in ("photo_present", "seen_present", None):
        there = batch if flag is None else batch | {flag: np.zeros_like(batch[flag])}
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model.network(fed(there), training=True)[:, :2] ** 2)
        gradients = tape.gradient(loss, encoder.trainable_weights)
        assert all(np.isfinite(g).all() for g in gradients)
        assert any(np.abs(g).max() > 0 for g in gradients)
