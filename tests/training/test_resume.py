"""A run that was stopped, by an error or by kill -9, ends as an uninterrupted one."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import Config, save_config
from mmrank.data.tables import Dataset
from mmrank.trained_run import load_run
from mmrank.training.callbacks import Progress
from mmrank.training.loop import train_run
from mmrank.training.state import State, TrainingError

ROOT = pathlib.Path(__file__).resolve().parents[2]

TRAIN = """
import pathlib, sys
import mmrank
import tensorflow as tf
from mmrank.config import load_config
from mmrank.data.tables import load_dataset
from mmrank.training.loop import train_run
config, data, run = sys.argv[1:]
# As in the tests' own processes: optimised graphs add in another order.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
train_run(load_config(config), load_dataset(data), pathlib.Path(run))
"""


class Stop(RuntimeError):
    """Raised by the tests to stop training."""


@pytest.fixture(scope="module")
def config(quick_config) -> Config:
    return quick_config


@pytest.fixture(scope="module")
def whole(config, shop, tmp_path_factory) -> pathlib.Path:
    """A run of three epochs without interruption."""
    run = tmp_path_factory.mktemp("whole")
    train_run(config, shop, run)
    return run


def assert_same(run: pathlib.Path, whole: pathlib.Path) -> None:
    one, other = State.load(run / "state.json"), State.load(whole / "state.json")
    assert len(one.history) == 3
    for epoch, expected in zip(one.history, other.history, strict=True):
        # Threads may sum in another order: the last bits of a float32 loss of about 10 differ.
        assert epoch == pytest.approx(expected, rel=2e-6, abs=1e-6)
    assert (one.checkpoint, one.best_weights) == (other.checkpoint, other.best_weights)
    given = tf.train.load_checkpoint(str(run / str(one.checkpoint)))
    wanted = tf.train.load_checkpoint(str(whole / str(other.checkpoint)))
    names = [n for n in wanted.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n]
    assert len(names) > 50
    for name in names:
        np.testing.assert_allclose(
            given.get_tensor(name), wanted.get_tensor(name), atol=2e-5, err_msg=name
        )


def test_a_run_leaves_its_files(whole):
    state = State.load(whole / "state.json")
    assert state.finished
    assert state.epoch == 3
    assert [set(e) for e in state.history] == [{"loss", "ndcg_10", "val_ndcg_10"}] * 3
    kept = {p.name.split(".")[0] for p in (whole / "checkpoints").iterdir()}
    # The last epoch and the best one are kept; Keras adds an index file.
    wanted = {pathlib.Path(str(p)).name for p in (state.checkpoint, state.best_weights)}
    assert kept - {"checkpoint"} == wanted
    for name in ("config.yaml", "schema.yaml", "features.json", "logs"):
        assert (whole / name).exists()


def train_until(
    epoch: int, config: Config, shop: Dataset, run: pathlib.Path, resume: bool = False
) -> None:
    """Trains a run until an error stops it in the given epoch."""

    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == epoch and batch == 2:
            raise Stop

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(Stop):
            train_run(config, shop, run, resume=resume)
    assert State.load(run / "state.json").epoch == epoch


@pytest.fixture(scope="module")
def stopped_twice(config, shop, tmp_path_factory) -> pathlib.Path:
    """A run that was stopped in its first epoch, resumed, and stopped in its second."""
    run = tmp_path_factory.mktemp("stopped")
    train_until(0, config, shop, run)
    train_until(1, config, shop, run, resume=True)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1])
def test_resuming_after_an_error_in_an_epoch_equals_no_interruption(
    config, shop, whole, stopped_twice, tmp_path, epoch
):
    """Before the first epoch is finished, training starts again from the beginning, identically."""
    if epoch == 0:  # the run that resumed after an error in the first epoch
        (one,) = State.load(stopped_twice / "state.json").history
        expected = State.load(whole / "state.json").history[0]
        assert one == pytest.approx(expected, rel=2e-6, abs=1e-6)
    else:
        run = shutil.copytree(stopped_twice, tmp_path / "run")
        train_run(config, shop, run, resume=True)
        assert_same(run, whole)


@pytest.mark.slow
def test_resuming_after_kill_9_equals_no_interruption(config, shop, whole, tmp_path):
    """A separate process is killed as soon as its first epoch is finished."""
    run = tmp_path / "run"
    run.mkdir()
    save_config(config, tmp_path / "config.yaml")
    arguments = [str(tmp_path / "config.yaml"), str(shop.folder), str(run)]
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 300
        while finished_epochs(run) < 1 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        assert finished_epochs(run) >= 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert process.returncode == -signal.SIGKILL
    state = State.load(run / "state.json")
    assert 1 <= state.epoch < 3
    assert not state.finished
    train_run(config, shop, run, resume=True)
    assert_same(run, whole)


def finished_epochs(run: pathlib.Path) -> int:
    file = run / "state.json"
    return json.loads(file.read_text())["epoch"] if file.is_file() else 0


def test_a_finished_run_trains_no_further(config, shop, whole):
    before = (whole / "state.json").read_bytes()
    train_run(config, shop, whole, resume=True)
    assert (whole / "state.json").read_bytes() == before


def test_a_run_is_not_resumed_with_another_config(config, shop, whole):
    other = dataclasses.replace(config, seed=config.seed + 1)
    with pytest.raises(TrainingError, match="another config"):
        train_run(other, shop, whole, resume=True)


def test_options_of_the_report_may_change(config, shop, whole, tmp_path):
    """Another split may be reported, as messages advise; the relevant grade selects epochs."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    evaluation = dataclasses.replace(config.evaluation, split="valid", baselines=())
    resumed = train_run(dataclasses.replace(config, evaluation=evaluation), shop, run, resume=True)
    assert resumed.config.evaluation == evaluation
    assert load_run(run).config.evaluation == evaluation
    other = dataclasses.replace(evaluation, relevant_grade=evaluation.relevant_grade + 1)
    with pytest.raises(TrainingError, match="another config"):
        train_run(dataclasses.replace(config, evaluation=other), shop, run, resume=True)


def test_a_loaded_run_scores_as_its_best_epoch(whole, shop: Dataset):
    """The loaded weights have the validation figure of the best epoch."""
    from mmrank.scoring import ListScorer
    from mmrank.training.validation import validation_ndcg

    run = load_run(whole)
    rows = shop.rows("valid")
    arrays = run.fitted.arrays(shop, rows)
    state = State.load(whole / "state.json")
    scores = ListScorer(run.model, 4, run.config.data.buckets)(arrays)
    np.testing.assert_allclose(run.score(shop, rows), scores, atol=1e-6)
    assert validation_ndcg(scores, arrays) == pytest.approx(state.best, abs=1e-6)
    assert state.best == max(e["val_ndcg_10"] for e in state.history)


@pytest.mark.slow
def test_training_hands_over_the_run_that_loading_gives(config, shop, tmp_path):
    """Training stops early after its best epoch, so that the last weights are not the best ones."""
    training = dataclasses.replace(config.training, learning_rate=0.3, clip_norm=9.0)
    trained = train_run(dataclasses.replace(config, training=training), shop, tmp_path)
    loaded = load_run(tmp_path)
    rows = shop.rows("valid")
    np.testing.assert_allclose(trained.score(shop, rows), loaded.score(shop, rows), atol=1e-5)
    assert (trained.folder, trained.config, trained.data) == (
        loaded.folder,
        loaded.config,
        loaded.data,
    )


def test_a_run_is_not_resumed_on_other_data(config, shop, whole):
    other = dataclasses.replace(shop, folder=shop.folder / "elsewhere")
    with pytest.raises(TrainingError, match="was started on"):
        train_run(config, other, whole, resume=True)
