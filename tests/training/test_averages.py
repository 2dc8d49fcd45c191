"""Moving averages of the weights: by a plain loop, swapped in for validation, saved, resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.tables import Dataset
from mmrank.trained_run import load_run
from mmrank.training.averages import Averages
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.training.optimizer import PacedAdamW, make_optimizer
from mmrank.training.state import State
from mmrank.training.validation import validation_ndcg

GRADIENTS = [[0.5, -1.0], [2.0, 0.0], [-1.0, 1.0], [0.1, 0.3], [0.7, -0.2]]


class Stop(RuntimeError):
    """Raised by a test to stop training."""


@pytest.fixture(scope="module")
def config(quick_config: Config) -> Config:
    """Numbers only, and a rate at which weights and averages differ clearly after three epochs."""
    drop = (*quick_config.model.drop, "query", "title", "history", "user", "brand")
    head = dataclasses.replace(quick_config.model.head, attention_layers=0)
    return dataclasses.replace(
        quick_config,
        model=dataclasses.replace(quick_config.model, drop=drop, head=head),
        training=dataclasses.replace(
            quick_config.training, epochs=3, steps_per_epoch=4, ema=0.9, learning_rate=0.02
        ),
    )


@pytest.fixture(scope="module")
def whole(config: Config, shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    run = tmp_path_factory.mktemp("whole")
    train_run(config, shop, run)
    return run


@pytest.mark.parametrize("ema", [0.05, 0.25, 0.99])
def test_averages_by_a_plain_loop(ema):
    variable = tf.Variable([1.0, -2.0])
    optimizer = PacedAdamW(0.1, ema=ema, weight_decay=0.0)
    optimizer.build([variable])
    expected = variable.numpy()
    for step, gradient in enumerate(GRADIENTS):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        decay = min(ema, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * variable.numpy()
    np.testing.assert_allclose(optimizer.average(variable), expected, rtol=1e-5)


def test_each_variable_has_its_own_average_though_another_has_no_gradient():
    variables = [tf.Variable([1.0], name="a"), tf.Variable([2.0], name="b")]
    optimizer = PacedAdamW(0.1, ema=0.5, weight_decay=0.0)
    optimizer.build(variables)
    optimizer.apply_gradients([(None, variables[0]), (tf.constant([1.0]), variables[1])])
    assert float(optimizer.average(variables[0])[0]) == 1.0
    expected = 0.1 * 2.0 + 0.9 * float(variables[1][0])
    assert float(optimizer.average(variables[1])[0]) == pytest.approx(expected, rel=1e-6)


def test_averages_do_not_change_training():
    ends = []
    for ema in (0.0, 0.9):
        variable = tf.Variable([1.0, -2.0])
        optimizer = make_optimizer(
            learning_rate=0.1, steps=5, warmup=0.2, weight_decay=0.1, clip_norm=1.0, ema=ema
        )
        for gradient in GRADIENTS:
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
        ends.append(variable.numpy())
    np.testing.assert_array_equal(*ends)


def test_averages_replace_weights_within_the_block():
    variable = tf.Variable([1.0, -2.0])
    optimizer = PacedAdamW(0.1, ema=0.9, weight_decay=0.0)
    optimizer.build([variable])
    variable.assign([3.0, 4.0])  # training starts here, after `build`
    averages = Averages(optimizer, [variable])
    averages.begin()
    np.testing.assert_array_equal(optimizer.average(variable), [3, 4])
    for gradient in GRADIENTS:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
    live, average = variable.numpy(), optimizer.average(variable).numpy()
    assert np.abs(live - average).min() > 0
    with contextlib.suppress(Stop), averages.in_place():
        np.testing.assert_array_equal(variable, average)
        raise Stop
    np.testing.assert_array_equal(variable, live)
    np.testing.assert_array_equal(optimizer.average(variable), average)


def test_frequencies_and_adapters_have_no_weight_decay():
    optimizer = make_optimizer(
        learning_rate=0.1, steps=10, warmup=0.0, weight_decay=0.5, clip_norm=1.0
    )
    names = ("periodic/frequencies", "adapter_in/adapter", "adapter_encoder/kernel")
    variables = [tf.Variable([2.0], name=n) for n in names]
    optimizer.build(variables)
    for _ in range(2):  # the learning rate of the first step is zero
        optimizer.apply_gradients([(tf.zeros([1]), v) for v in variables])
    kept = [float(v.numpy()[0]) for v in variables]
    assert kept[:2] == [2.0, 2.0]
    assert kept[2] == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-5)


def test_the_figure_of_the_best_epoch_is_that_of_the_loaded_run(shop, whole):
    state, run, rows = State.load(whole / "state.json"), load_run(whole), shop.rows("valid")
    figure = validation_ndcg(run.score(shop, rows), run.arrays(shop, rows))
    assert figure == pytest.approx(state.best, abs=1e-4)


def test_a_stopped_run_keeps_averages_and_resumes_to_the_same_ones(
    config, shop, whole, tmp_path, monkeypatch
):
    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1 and batch == 2:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(Stop):
            train_run(config, shop, tmp_path)
    # After the first epoch, the best weights are averages, not the weights that training continues.
    live, best = tensors(tmp_path / "checkpoints/epoch-1"), tensors(tmp_path / "checkpoints/best-1")
    kernels = [n for n in best if n.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")]
    assert len(kernels) > 3
    for name in kernels:
        assert np.abs(best[name] - live[f"network/{name}"]).max() > 1e-4
        assert any(
            np.array_equal(best[name], value)
            for of, value in live.items()
            if of.startswith("optimizer/")
        )

    train_run(config, shop, tmp_path, resume=True)
    one, other = State.load(tmp_path / "state.json"), State.load(whole / "state.json")
    assert (one.checkpoint, one.best_weights) == (other.checkpoint, other.best_weights)
    for epoch, expected in zip(one.history, other.history, strict=True):
        assert epoch == pytest.approx(expected, rel=2e-6, abs=1e-6)
    for file in (str(one.checkpoint), str(one.best_weights)):
        given = tensors(tmp_path / file)
        for name, expected in tensors(whole / file).items():
            np.testing.assert_allclose(given[name], expected, atol=2e-5, err_msg=name)


def tensors(checkpoint: pathlib.Path) -> dict[str, np.ndarray]:
    """All numbers of a checkpoint by name."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    names = reader.get_variable_to_shape_map()
    return {n: reader.get_tensor(n) for n in names if "OBJECT_GRAPH" not in n}


def test_an_invalid_decay_is_refused():
    with pytest.raises(ConfigError, match="ema: expected 0 to below 1, got 1.0"):
        from_mapping(Config, {"training": {"ema": 1.0}}, "test")
