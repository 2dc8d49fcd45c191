"""Training of a ranker with the teacher and the trees that its config asks for."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from mmrank.config import (
    CONFIG_FILE,
    NO_TEACHER,
    SELF,
    STATE_FILE,
    TEACHER_FILE,
    TEACHER_FOLDER,
    TREES,
    Config,
    ConfigError,
    Teacher,
    save_config,
)
from mmrank.data.tables import Dataset
from mmrank.outputs import write_whole
from mmrank.records.source import RecordLists
from mmrank.trained_run import Run, load_run
from mmrank.training.forest import add_trees
from mmrank.training.loop import train_run
from mmrank.training.sources import TrainingLists
from mmrank.training.taught import taught
from mmrank.training.validation import figure_of
from mmrank.training.workers import this_worker

logger = logging.getLogger(__name__)


def train(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    watchers: Sequence[tf.keras.callbacks.Callback] = (),
) -> Run:
    """Trains the ranker in a run's folder: its teacher first, if any, and its trees last, if any.

    For arguments and errors see `train_run` and `add_trees`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    teacher = _teacher(config, dataset, folder, resume, strategy)
    lists: TrainingLists | None = None
    if teacher is not None:
        teacher_options = config.training.teacher
        lists = taught(teacher, dataset, teacher_options.temperature, teacher_options.share)
        plain = dataclasses.asdict(teacher_options) | {"run": str(teacher.folder.resolve())}
        write_whole(folder / TEACHER_FILE, json.dumps(plain, indent=1) + "\n")
    elif config.data.records is not None:
        lists = RecordLists(config, dataset, folder)
    run = train_run(config, dataset, folder, resume, init_from, lists, strategy, watchers)
    # Workers that do not export do not need trees.
    run = add_trees(run, dataset) if this_worker(config.training.strategy).is_chief else run
    if teacher is not None:
        valid = dataset.rows("valid")
        figure = figure_of(config, run.arrays(dataset, valid))
        both = [figure(r.score(dataset, valid)) for r in (teacher, run)]
        metric = config.training.select_metric
        logger.info("%s validation: teacher %.4f, student %.4f", metric, *both)
    return run


def _teacher(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    resume: bool,
    strategy: tf.distribute.Strategy | None,
) -> Run | None:
    """The ranker that the config learns from, trained here if it is `self` or `trees`; or None."""
    name = config.training.teacher.run
    if name == NO_TEACHER:
        return None
    if name not in (SELF, TREES):
        if not (pathlib.Path(name) / STATE_FILE).is_file():
            raise ConfigError(
                f"training.teacher.run: {name}: no {STATE_FILE}, so this is not the folder of a "
                f"run; give a run, {SELF} or {TREES}"
            )
        return load_run(pathlib.Path(name))
    own = folder / TEACHER_FOLDER
    training = dataclasses.replace(config.training, teacher=Teacher())
    kind = TREES if name == TREES else config.model.name
    model = dataclasses.replace(config.model, name=kind)
    begun = resume and (own / STATE_FILE).is_file()
    if not (folder / CONFIG_FILE).is_file():  # --resume needs it before the student begins
        save_config(config, folder / CONFIG_FILE)
    logger.info("training the teacher in %s", own)
    return train(
        dataclasses.replace(config, model=model, training=training),
        dataset,
        own,
        begun,
        strategy=strategy,
    )
