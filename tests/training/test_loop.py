"""The loop: what stops it, what it warns of, precision, replicas."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.ranking.metrics import make_metric
from mmrank.training.callbacks import Health, State, TrainingError, _all_tie, validation_ndcg
from mmrank.training.loop import train_run
from mmrank.training.optimizer import make_optimizer
from mmrank.training.strategy import make_strategy
from mmrank.training.targets import for_metric


@pytest.fixture
def short(quick_config):
    """One epoch of two steps over numbers alone, with changes to the training section."""

    def one(drop: tuple[str, ...] = ("title", "query", "history"), **changes: object):
        training = dataclasses.replace(
            quick_config.training, **{"epochs": 1, "steps_per_epoch": 2, **changes}
        )
        model = dataclasses.replace(quick_config.model, drop=(*quick_config.model.drop, *drop))
        return dataclasses.replace(quick_config, training=training, model=model)

    return one


def test_a_loss_that_is_no_number_stops_training_with_the_remedy(short, shop, tmp_path):
    config = short(learning_rate=1e30, warmup=0.0, epochs=9, clip_norm=1e30)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*training\.learning_rate"):
        train_run(config, shop, tmp_path)


def test_early_stopping_waits_as_long_as_it_is_told(short, shop, tmp_path):
    """A rate of nearly nothing: no epoch after the first is better."""
    config = short(learning_rate=1e-20, epochs=9, patience=2)
    train_run(config, shop, tmp_path)
    state = State.load(tmp_path / "state.json")
    assert state.epoch == 3
    assert state.finished
    assert state.best_weights == "checkpoints/best-1"


def test_mixed_precision_trains(short, shop, tmp_path):
    """In bfloat16: TensorFlow's layer normalisation on a CPU knows no float16."""
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


def test_a_loss_stuck_at_zero_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        Health().on_epoch_end(0, {"loss": 0.1})
        assert not caplog.records
        Health().on_epoch_end(0, {"loss": 0.0})
    assert "exactly 0" in caplog.text


@dataclasses.dataclass(frozen=True)
class Lists:
    """As much of ListArrays as the validation figures read."""

    offsets: np.ndarray
    grades: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def test_ties_are_noticed_only_where_all_of_every_list_tie():
    lists = Lists(np.array([0, 2, 5]), np.zeros(5))
    assert _all_tie(np.array([1, 1, 2, 2, 2.0]), lists)
    assert not _all_tie(np.array([1, 1, 2, 2, 2.1]), lists)


def test_validation_ndcg_by_formula():
    """Lists of 2 and 20: the best first in one, the only relevant one at rank 3 in the other.

    A third one has nothing relevant, and no part in the mean.
    """
    grades = np.zeros(25, np.float32)
    grades[[0, 5]] = 1
    scores = np.zeros(25, np.float32) - np.arange(25)
    scores[1] = -50
    scores[5] = -3.5  # behind rows 2 and 3
    lists = Lists(np.array([0, 2, 22, 25]), grades)
    assert validation_ndcg(scores, lists) == pytest.approx((1 + 1 / np.log2(4)) / 2, abs=1e-6)
    ties = [validation_ndcg(np.zeros(25, np.float32), lists) for _ in range(2)]
    assert ties[0] == ties[1]


def test_another_metric_reads_what_is_relevant():
    """Grades 1, 2, 0 in this order: with 2 as the lowest relevant grade the first is at rank 2."""
    lists = Lists(np.array([0, 3]), np.array([1, 2, 0], np.float32))
    scores = np.array([3.0, 2.0, 1.0])
    for relevant, mrr, precision in ((1.0, 1.0, 1.0), (2.0, 1 / 2, 1 / 2)):
        for name, expected in (("mrr", mrr), ("precision@2", precision)):
            read = for_metric(lists, name, relevant)
            given = validation_ndcg(scores, read, make_metric(name))
            assert given == pytest.approx(expected, abs=1e-6)
    assert for_metric(lists, "ndcg@3", 2.0) is lists


def test_the_metric_that_chooses_is_the_configs(short, shop, tmp_path):
    train_run(short(select_metric="recall@3"), shop, tmp_path)
    state = State.load(tmp_path / "state.json")
    (epoch,) = state.history
    assert {"val_recall_3", "val_ndcg_10"} <= set(epoch)
    assert state.best == epoch["val_recall_3"] != epoch["val_ndcg_10"]


def test_a_metric_that_cannot_choose_is_refused(short, shop, tmp_path):
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


def test_biases_norms_and_absence_are_spared_from_decay():
    """With gradients of zero only the decay moves a weight: by rate times decay of itself."""
    optimizer = make_optimizer(
        learning_rate=0.1, steps=10, warmup=0.0, weight_decay=0.5, clip_norm=1.0
    )
    names = ("dense/kernel", "dense/bias", "norm/gamma", "norm/beta", "tokens/absent")
    variables = [tf.Variable([2.0], name=n) for n in names]
    optimizer.build(variables)
    for _ in range(2):  # the first step climbs from a rate of zero
        optimizer.apply_gradients([(tf.zeros([1]), v) for v in variables])
    kept = [float(v.numpy()[0]) for v in variables]
    assert kept[0] == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-5)
    assert kept[1:] == [2.0] * 4


def test_unknown_strategies_are_named():
    with pytest.raises(ValueError, match="unknown strategy 'mirror'; known: auto, one_device"):
        make_strategy("mirror")
