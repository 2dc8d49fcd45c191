"""Weights of training rows: by popularity, for a ranker's grades, and their effect on losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError, Loss
from mmrank.data.batches import Batches
from mmrank.data.tables import DataError
from mmrank.features import make_features
from mmrank.objectives import build_loss
from mmrank.ranking.tasks import TaskSpec
from mmrank.schema import Feature
from mmrank.training.loop import train_run
from mmrank.training.row_weights import training_weights, weighted
from mmrank.training.state import State
from mmrank.training.targets import take_targets


def with_pseudo(shop):
    """The shop in which every third row has a ranker's grade, except that the first is unknown."""
    values = np.where(np.arange(len(shop.lists)) % 3 == 0, 1.0, 0.0)
    values[0] = np.nan
    label = Feature("pseudo", "number", "label", "pseudo")
    schema = dataclasses.replace(shop.schema, features=(*shop.schema.features, label))
    return dataclasses.replace(shop, schema=schema, lists=shop.lists.assign(pseudo=values))


def test_equal_weights_are_omitted(shop):
    assert training_weights(shop, 0.0, 1.0) is None


def test_weights_by_popularity_follow_the_events_before_the_end_of_training(shop):
    """1 / (1 + n) with n counted by a plain loop; no item here is rare enough for the cap."""
    rows = shop.rows("train")
    end = rows["_time"].max()
    counts = dict.fromkeys(range(len(shop.catalog)), 0)
    for item, time in zip(shop.events["_item"], shop.events["_time"], strict=True):
        if time <= end:
            counts[item] += 1
    raw = np.array([1 / (1 + counts[i]) for i in rows["_item"]])
    assert raw.max() < 10 * raw.mean()
    np.testing.assert_allclose(training_weights(shop, 1.0, 1.0), raw / raw.mean(), rtol=1e-5)


def test_grades_of_a_ranker_have_the_configured_weight(shop):
    marked = with_pseudo(shop)
    given = training_weights(marked, 0.0, 0.25)
    expected = np.where(marked.rows("train")["pseudo"] > 0, 0.25, 1.0)
    assert 0 < (expected < 1).sum() < len(expected)
    np.testing.assert_array_equal(given, expected)
    both = training_weights(marked, 1.0, 0.25)
    np.testing.assert_allclose(both, expected * training_weights(shop, 1.0, 1.0), rtol=1e-6)


def test_wrong_numbers_and_a_missing_label_are_refused(shop):
    with pytest.raises(DataError, match=r"lists\.parquet.*no label 'pseudo'"):
        training_weights(shop, 0.0, 0.5)
    with pytest.raises(ConfigError, match=r"training\.popularity_weight: expected .*, got -1"):
        training_weights(shop, -1.0, 1.0)


def test_the_weights_of_a_task_multiply(shop):
    arrays = make_features(shop.schema, {}, drop=("photo", "title", "description", "query"))
    arrays.fit(shop)
    lists = arrays.arrays(shop, shop.rows("train"))
    own = np.linspace(1, 2, len(lists.candidates), dtype=np.float32)
    lists = dataclasses.replace(lists, weights={"click": own})
    tasks = [TaskSpec("click", "click"), TaskSpec("purchase", "purchase")]
    halves = np.full(len(own), 0.5, np.float32)
    given = weighted(lists, tasks, halves).weights
    np.testing.assert_array_equal(given["click"], own / 2)
    np.testing.assert_array_equal(given["purchase"], halves)

    # Without tasks, the grades are weighted; a batch has their weights in the order of its rows.
    batch = Batches(weighted(lists, [], own), 2, (32,)).make(np.array([0, 1]))
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    _, weights = take_targets(tensors, [])
    shown = batch["mask"]
    np.testing.assert_array_equal(weights.numpy()[shown], own[: shown.sum()])
    assert "weights_grade" not in tensors


def test_a_list_has_the_softmax_weight_of_its_relevant_rows():
    """−Σ y log softmax of two lists, weighted by 3 and 1: TF-Ranking's mean of weighted losses."""
    labels, scores = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.3, 0.1], [0.2, -0.4]])
    weights = np.array([[3.0, 9.0], [9.0, 1.0]])
    own = -(labels * np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))).sum(1)
    given = build_loss(Loss())(
        tf.constant(labels, tf.float32),
        tf.constant(scores, tf.float32),
        sample_weight=tf.constant(weights, tf.float32),
    )
    assert float(given) == pytest.approx((3 * own[0] + own[1]) / 2, rel=1e-5)


@pytest.mark.slow
def test_a_run_uses_the_weights(quick_config, shop, tmp_path):
    losses = {}
    for power in (0.0, 1.0):
        training = dataclasses.replace(
            quick_config.training, epochs=1, steps_per_epoch=2, popularity_weight=power
        )
        drop = (*quick_config.model.drop, "title", "query", "history")
        model = dataclasses.replace(quick_config.model, drop=drop)
        run = tmp_path / str(power)
        run.mkdir()
        train_run(dataclasses.replace(quick_config, model=model, training=training), shop, run)
        losses[power] = State.load(run / "state.json").history[0]["loss"]
    assert np.isfinite(list(losses.values())).all()
    assert losses[0.0] != losses[1.0]
