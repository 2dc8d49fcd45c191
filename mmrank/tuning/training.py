"""The training of one trial."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmrank.config import STATE_FILE, Config
from mmrank.data.tables import Dataset
from mmrank.job import train
from mmrank.training.callbacks import State


def train_trial(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    tell: Callable[[int, float], None],
) -> tuple[float, int]:
    """The validation figure that a run of a config reaches, and its epochs.

    Args:
      config: The config of the run.
      dataset: Its training and validation lists.
      folder: The run's folder.
      tell: Called after each epoch with its number, from 1 on, and its validation figure.
    """
    run = train(config, dataset, folder, watchers=[_Tell(config.training.select_metric, tell)])
    state, blend = State.load(folder / STATE_FILE), run.model.blend
    return state.best if blend is None else blend.figure, state.epoch


class _Tell(tf.keras.callbacks.Callback):
    """Tells the validation figure of each epoch.

    Args:
      metric: The metric, as `training.select_metric` names it.
      tell: As for `train_trial`.
    """

    def __init__(self, metric: str, tell: Callable[[int, float], None]):
        super().__init__()
        self._name, self._tell = f"val_{metric.replace('@', '_')}", tell

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._tell(epoch + 1, float(logs[self._name]))
