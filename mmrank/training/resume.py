"""Begins the folder of a new run, or resumes a training from the folder of its run."""

from __future__ import annotations

import dataclasses
import pathlib

import tensorflow as tf

from mmrank.config import (
    CONFIG_FILE,
    FEATURES_FILE,
    STATE_FILE,
    Config,
    load_run_config,
    save_config,
)
from mmrank.data.run_state import changed_tables, table_hashes
from mmrank.data.tables import Dataset
from mmrank.features import Features
from mmrank.outputs import one_line
from mmrank.schema import save_schema
from mmrank.training.sources import TrainingLists
from mmrank.training.state import State, TrainingError


def begin_or_resume(
    config: Config,
    dataset: Dataset,
    lists: TrainingLists,
    run: pathlib.Path,
    features: Features,
    resume: bool,
    init_from: pathlib.Path | None,
) -> State:
    """Returns the state to start from; writes config, schema and fitted features of a new run.

    Args:
      config: The resolved config.
      dataset: The dataset.
      lists: The lists that the features of a new run are fitted on.
      run: The run's folder.
      features: The features; fitted, or loaded from a resumed run.
      resume: Whether to continue a run, if the folder holds one.
      init_from: The run whose weights a new run begins with.

    Raises:
      TrainingError: A resumed run has another config or dataset.
    """
    if resume and (run / STATE_FILE).is_file():
        before = load_run_config(run)
        if not _same_training(before, config):
            raise TrainingError(
                f"{run} was started with another config; resume it with {run / CONFIG_FILE}, "
                "or start a new run with another --out"
            )
        state = State.load(run / STATE_FILE)
        if state.data != str(dataset.folder.resolve()):
            raise TrainingError(f"{run} was started on {state.data}; resume it without --data")
        changed = changed_tables(state.tables, dataset.folder, dataset.schema)
        if changed:
            raise TrainingError(
                f"{dataset.folder}: {', '.join(changed)} changed since {run} was started; restore "
                "the old files to resume it, or start a new run on the new files with another "
                f"--out (--init-from {run} starts from its weights)"
            )
        features.load(run / FEATURES_FILE)
        if before != config:
            save_config(config, run / CONFIG_FILE)
        return state
    lists.fit(features)
    save_config(config, run / CONFIG_FILE)
    save_schema(dataset.schema, run)
    features.save(run / FEATURES_FILE)
    began = None if init_from is None else str(init_from.resolve())
    state = State(
        data=str(dataset.folder.resolve()),
        init_from=began,
        tables=table_hashes(dataset.folder, dataset.schema),
    )
    (run / "checkpoints").mkdir(exist_ok=True)
    state.save(run / STATE_FILE)
    return state


def restore_checkpoint(checkpoint: tf.train.Checkpoint, run: pathlib.Path, name: str) -> None:
    """Restores the checkpoint of the last finished epoch.

    Raises:
      TrainingError: The checkpoint is missing or damaged.
    """
    try:
        checkpoint.read(str(run / name)).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, LookupError) as error:
        raise TrainingError(
            f"{run / name}: damaged, so the run cannot continue: {one_line(error)}; restore a "
            f"complete copy of the run, or start a new run with another --out and --init-from "
            f"{run}, which starts from the best weights so far"
        ) from error


def _same_training(one: Config, other: Config) -> bool:
    """Returns whether two configs differ at most in options of the evaluation after training."""
    evaluation = dataclasses.replace(
        other.evaluation, relevant_grade=one.evaluation.relevant_grade
    )  # relevant_grade affects training, since epochs are chosen by it
    return dataclasses.replace(one, evaluation=evaluation) == other
