"""A run from a dataset to an export: checks, training, calibration, evaluation, export."""

from __future__ import annotations

import pathlib
import time

import tensorflow as tf

from mmrank.config import Config
from mmrank.data.tables import Dataset
from mmrank.job.checks import check_data, check_job, left_out
from mmrank.job.results import Finished, measure_and_export
from mmrank.job.training import train
from mmrank.training.workers import this_worker

__all__ = [
    "Finished",
    "check_data",
    "check_job",
    "left_out",
    "measure_and_export",
    "run_experiment",
    "train",
]


def run_experiment(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    *,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    started: float | None = None,
) -> Finished | None:
    """Checks, trains, calibrates, evaluates and exports a ranker; returns the results.

    Args:
      config, dataset, folder, resume, init_from, strategy: As for `train_run`.
      started: When the work began, by `time.monotonic`; now by default.

    Returns:
      The results; None on a worker that only trains, while the first one evaluates and exports.

    Raises:
      ConfigError: A name or a setting in the config is wrong.
      DataError: The dataset lacks what the config needs.
    """
    started = time.monotonic() if started is None else started
    check_job(config, dataset.schema)
    check_data(config, dataset)
    trained = train(config, dataset, folder, resume, init_from, strategy)
    if not this_worker(config.training.strategy).is_chief:
        return None
    return measure_and_export(trained, dataset, started)
