"""The loop: what stops it, its warnings, precision, replicas."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.training.callbacks import Health
from mmrank.training.loop import train_run
from mmrank.training.optimizer import make_optimizer
from mmrank.training.state import State, TrainingError
from mmrank.training.strategy import make_strategy


@pytest.fixture
def short(quick_config):
    """A function for configs of one epoch of two steps over numbers, with changes to `training`."""

    def one(drop: tuple[str, ...] = ("title", "query", "history"), **changes: object):
        training = dataclasses.replace(
            quick_config.training, **{"epochs": 1, "steps_per_epoch": 2, **changes}
        )
        model = dataclasses.replace(quick_config.model, drop=(*quick_config.model.drop, *drop))
        return dataclasses.replace(quick_config, training=training, model=model)

    return one


def test_a_loss_that_is_not_finite_stops_training_with_the_remedy(short, shop, tmp_path):
    config = short(learning_rate=1e30, warmup=0.0, epochs=9, clip_norm=1e30)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*training\.learning_rate"):
        train_run(config, shop, tmp_path)


def test_early_stopping_waits_for_the_patience(short, shop, tmp_path):
    """With a rate of almost zero, no epoch is better than the first."""
    config = short(learning_rate=1e-20, epochs=9, patience=2)
    train_run(config, shop, tmp_path)
    state = State.load(tmp_path / "state.json")
    assert state.epoch == 3
    assert state.finished
    assert state.best_weights == "checkpoints/best-1"


@pytest.mark.slow
def test_mixed_precision_trains(short, shop, tmp_path):
    """In bfloat16, since TensorFlow's layer normalisation on a CPU does not support float16."""
    config = short(drop=(), mixed_precision="mixed_bfloat16")
    try:
        train_run(config, shop, tmp_path)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    state = State.load(tmp_path / "state.json")
    assert np.isfinite(state.history[0]["loss"])
    assert 0 < state.history[0]["val_ndcg_10"] <= 1


def test_a_dataset_without_validation_lists_is_refused(short, shop, tmp_path):
    lists = shop.lists[shop.lists["_split"] != "valid"]
    with pytest.raises(DataError, match="no valid list"):
        train_run(short(), dataclasses.replace(shop, lists=lists), tmp_path)


def test_a_loss_of_zero_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        Health().on_epoch_end(0, {"loss": 0.1})
        assert not caplog.records
        Health().on_epoch_end(0, {"loss": 0.0})
    assert "exactly 0" in caplog.text


def test_the_config_sets_the_metric_for_selection(short, shop, tmp_path):
    train_run(short(select_metric="recall@3"), shop, tmp_path)
    state = State.load(tmp_path / "state.json")
    (epoch,) = state.history
    assert {"val_recall_3", "val_ndcg_10"} <= set(epoch)
    assert state.best == epoch["val_recall_3"] != epoch["val_ndcg_10"]


def test_an_unsuitable_metric_is_refused(short, shop, tmp_path):
    for name, message in (("mpa", "did you mean 'map'"), ("mrr@x", "cutoff must be")):
        with pytest.raises(ConfigError, match=f"training.select_metric: .*{message}"):
            train_run(short(select_metric=name), shop, tmp_path)


@pytest.mark.parametrize("step", [0, 1, 5, 10, 11, 60, 99, 100])
def test_the_rate_climbs_then_falls_along_a_cosine(step):
    optimizer = make_optimizer(
        learning_rate=0.1, steps=100, warmup=0.1, weight_decay=0.0, clip_norm=1.0
    )
    expected = (
        0.1 * step / 10 if step < 10 else 0.05 * (1 + np.cos(np.pi * min((step - 10) / 90, 1)))
    )
    given = optimizer._learning_rate(tf.constant(step))
    assert float(given) == pytest.approx(expected, abs=1e-6)


def test_biases_norms_and_absence_have_no_weight_decay():
    """With zero gradients only the decay changes a weight, by rate times decay times the weight."""
    optimizer = make_optimizer(
        learning_rate=0.1, steps=10, warmup=0.0, weight_decay=0.5, clip_norm=1.0
    )
    names = ("dense/kernel", "dense/bias", "norm/gamma", "norm/beta", "tokens/absent")
    variables = [tf.Variable([2.0], name=n) for n in names]
    optimizer.build(variables)
    for _ in range(2):  # the learning rate of the first step is zero
        optimizer.apply_gradients([(tf.zeros([1]), v) for v in variables])
    kept = [float(v.numpy()[0]) for v in variables]
    assert kept[0] == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-5)
    assert kept[1:] == [2.0] * 4


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError, match="unknown strategy 'mirror'; did you mean 'mirrored'"):
        make_strategy("mirror")
