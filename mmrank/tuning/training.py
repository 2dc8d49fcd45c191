"""Trains one trial."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmrank.config import STATE_FILE, Config
from mmrank.data.tables import Dataset
from mmrank.job import train
from mmrank.training.state import State
from mmrank.training.validation import best_figure, log_name


def train_trial(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    report: Callable[[int, float], None],
) -> tuple[float, int]:
    """Trains a config and returns its best validation figure and its number of epochs.

    Args:
      config: The config of the run.
      dataset: The training and validation lists.
      folder: The run's folder.
      report: Called after each epoch with its number, from 1, and its validation figure.
    """
    run = train(
        config, dataset, folder, watchers=[_ReportEpoch(config.training.select_metric, report)]
    )
    state = State.load(folder / STATE_FILE)
    return best_figure(run, state), state.epoch


class _ReportEpoch(tf.keras.callbacks.Callback):
    """Reports the validation figure of each epoch.

    Args:
      metric: The metric, as `training.select_metric` names it.
      report: As for `train_trial`.
    """

    def __init__(self, metric: str, report: Callable[[int, float], None]):
        super().__init__()
        self._name, self._report = log_name(metric), report

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._report(epoch + 1, float(logs[self._name]))
