"""A run from a dataset to an export: trained, calibrated, measured against baselines, exported."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
import time
from collections.abc import Sequence

import pandas as pd
import tensorflow as tf

from mmrank.build import Run, load_run
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
from mmrank.config_checks import check_config
from mmrank.data.checks import as_numbers
from mmrank.data.tables import SPLITS, DataError, Dataset
from mmrank.encoders import HISTORY, KINDS
from mmrank.evaluation.calibration import calibrate, check_calibration
from mmrank.evaluation.compared import METRICS_FILE, check_compared, compared_scores, run_cost
from mmrank.evaluation.metrics import CONVENTIONS
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import TaskReport, ranking_label, report_tasks
from mmrank.features import MODEL_SIDES
from mmrank.models import check_input_names
from mmrank.outputs import write_whole
from mmrank.ranking.metrics import make_metric
from mmrank.records.source import RecordLists
from mmrank.schema import Schema, did_you_mean
from mmrank.serving.export import export_run
from mmrank.training.callbacks import State, validation_ndcg
from mmrank.training.forest import add_trees
from mmrank.training.loop import train_run
from mmrank.training.sources import TrainingLists
from mmrank.training.targets import for_metric
from mmrank.training.taught import TaughtLists
from mmrank.training.workers import this_worker

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run came to.

    Attributes:
      run: The trained ranker.
      report: Its figures against the baselines; None without a list to report.
      tasks: The figures of its tasks.
      export: The folder of the exported version.
      seconds: By step: training, evaluation, export.
    """

    run: Run
    report: Report | None
    tasks: TaskReport
    export: pathlib.Path
    seconds: dict[str, float]


def check_job(config: Config, schema: Schema) -> None:
    """Checks all names in a config that some table resolves, before anything slow begins.

    Args:
      config: The config.
      schema: The schema of the data, whose features it names.

    Raises:
      ConfigError: A name that there is not.
    """
    settings = config.evaluation
    for key, known in (("split", (*SPLITS, "all")), ("no_relevant", CONVENTIONS)):
        value = getattr(settings, key)
        if value not in known:
            raise ConfigError(f"evaluation.{key}: unknown {value!r}{did_you_mean(value, known)}")
    try:
        check_compared(settings.baselines)
    except ValueError as error:
        raise ConfigError(f"evaluation.baselines: {error}") from error
    check_config(config)
    left_out(config, schema)
    _check_names(config, schema)
    check_calibration(config.evaluation.calibration)


def check_data(config: Config, dataset: Dataset) -> None:
    """Checks what a config wants of a dataset's lists, before anything slow begins.

    Raises:
      DataError: There is no validation list, or none with a relevant item, to choose weights by.
    """
    valid = dataset.rows("valid")
    if valid.empty:
        raise DataError(f"{dataset.folder}: no list in the split 'valid'; a run needs some")
    label = ranking_label(dataset, config)
    chosen = config.training.select_by or label
    feature = dataset.schema.label(chosen)
    if feature is not None and not (as_numbers(valid[feature.column]) > 0).any():
        raise DataError(
            f"{dataset.folder / dataset.schema.lists.file}, column {feature.column!r}: no "
            f"validation list has a {chosen} above 0, so no epoch is better than another; give the "
            "split 'valid' lists that have"
        )
    split = config.evaluation.split
    if dataset.rows(split).empty:
        logger.warning(
            "no list in the split %r: the ranker will be trained and exported, and not evaluated; "
            "set evaluation.split to report another",
            split,
        )


def left_out(config: Config, schema: Schema) -> dict[str, list[str]]:
    """What the ranker is scored without, by the name of the row in the report.

    An entry of `evaluation.without` is a feature, or a kind for all features of it but those of the
    query; a kind with one feature goes by that feature's name. What the ranker does not have
    anyway, because the schema has no such kind or `model.drop` names it, makes no row.

    Args:
      config: The config.
      schema: The schema of the data.

    Raises:
      ConfigError: An entry is neither a feature of the schema nor a kind.
    """
    features = schema.side(*MODEL_SIDES)
    known = {f.name for f in features} | {*KINDS, HISTORY}
    rows = {}
    for entry in config.evaluation.without:
        if entry not in known:
            raise ConfigError(
                f"evaluation.without: {entry!r} is neither a feature nor a kind"
                f"{did_you_mean(entry, known)}"
            )
        meant = [f.name for f in features if f.name == entry]
        meant = meant or [f.name for f in features if f.kind == entry and f.side != "query"]
        used = [name for name in meant if name not in config.model.drop]
        if used:
            rows[used[0] if len(used) == 1 else entry] = used
    return rows


def _check_names(config: Config, schema: Schema) -> None:
    read = [f for f in schema.side(*MODEL_SIDES) if f.name not in config.model.drop]
    history = next((f.name for f in read if f.kind == HISTORY), None)
    try:
        check_input_names([f.name for f in read if f.kind != HISTORY], history)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def train(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    watchers: Sequence[tf.keras.callbacks.Callback] = (),
) -> Run:
    """The ranker trained into a run's folder, after its teacher and with its trees, if any.

    Arguments and errors as of `train_run` and `add_trees`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    teacher = _teacher(config, dataset, folder, resume, strategy)
    lists: TrainingLists | None = None
    if teacher is not None:
        told = config.training.teacher
        train_rows = dataset.rows("train")
        logger.info("the teacher scores %s training candidates", f"{len(train_rows):,}")
        scores = teacher.score(dataset, train_rows)
        lists = TaughtLists(dataset, scores, told.temperature, told.share)
        plain = dataclasses.asdict(told) | {"run": str(teacher.folder.resolve())}
        write_whole(folder / TEACHER_FILE, json.dumps(plain, indent=1) + "\n")
    elif config.data.records is not None:
        lists = RecordLists(config, dataset, folder)
    run = train_run(config, dataset, folder, resume, init_from, lists, strategy, watchers)
    # Workers that do not export have no use for them.
    run = add_trees(run, dataset) if this_worker(config.training.strategy).is_chief else run
    if teacher is not None:
        name = config.training.select_metric
        valid = dataset.rows("valid")
        arrays = for_metric(run.arrays(dataset, valid), name, config.evaluation.relevant_grade)
        metric = make_metric(name)
        both = [validation_ndcg(r.score(dataset, valid), arrays, metric) for r in (teacher, run)]
        logger.info("%s validation: teacher %.4f, student %.4f", name, *both)
    return run


def _teacher(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    resume: bool,
    strategy: tf.distribute.Strategy | None,
) -> Run | None:
    """The ranker that the config learns from, trained if it is a run of its own; None without."""
    name = config.training.teacher.run
    if name == NO_TEACHER:
        return None
    if name not in (SELF, TREES):
        if not (pathlib.Path(name) / STATE_FILE).is_file():
            raise ConfigError(
                f"training.teacher.run: {name}: no {STATE_FILE}, so this is not the folder of a "
                f"run; give one, or {SELF} or {TREES}"
            )
        return load_run(pathlib.Path(name))
    own = folder / TEACHER_FOLDER
    training = dataclasses.replace(config.training, teacher=Teacher())
    kind = TREES if name == TREES else config.model.name
    model = dataclasses.replace(config.model, name=kind)
    begun = resume and (own / STATE_FILE).is_file()
    if not (folder / CONFIG_FILE).is_file():  # so that --resume knows it before the student begins
        save_config(config, folder / CONFIG_FILE)
    logger.info("training the teacher in %s", own)
    return train(
        dataclasses.replace(config, model=model, training=training),
        dataset,
        own,
        begun,
        strategy=strategy,
    )


def measure_and_export(trained: Run, dataset: Dataset, started: float) -> Finished:
    """The figures of a trained run, which stay as RUN/metrics.json, and its export.

    Without a list in the split to report there are no figures, and the export is all. Nor does an
    evaluation that fails cost the export: its error is raised once the ranker is exported.

    Args:
      trained: A run that `train` gave.
      dataset: The dataset that it was trained on.
      started: When the job began, by `time.monotonic`.
    """
    config, folder = trained.config, trained.folder
    trained = calibrate(trained, dataset, config.evaluation.calibration)
    trained_at = time.monotonic()
    rows = dataset.rows(config.evaluation.split)
    report, tasks, failed = None, TaskReport((), ()), None
    if not rows.empty:
        try:
            report, tasks = _evaluated(trained, dataset, rows, trained_at - started)
        except Exception as error:  # noqa: BLE001 - raised once the export is there
            failed = error
    evaluated_at = time.monotonic()
    exported = export_run(trained, folder / "export", dataset)
    if failed is not None:
        logger.warning("the evaluation failed; the ranker is exported all the same: %s", exported)
        raise failed
    seconds = {
        "training": trained_at - started,
        "evaluation": evaluated_at - trained_at,
        "export": time.monotonic() - evaluated_at,
    }
    return Finished(trained, report, tasks, exported, seconds)


def _evaluated(
    trained: Run, dataset: Dataset, rows: pd.DataFrame, train_seconds: float
) -> tuple[Report, TaskReport]:
    """The figures of a run and its baselines on some rows, kept as RUN/metrics.json."""
    config, settings, began = trained.config, trained.config.evaluation, time.monotonic()
    state = State.load(trained.folder / STATE_FILE)
    split = settings.split
    logger.info("scoring %s", split)
    scores = {"model": trained.score(dataset, rows)}
    cost = run_cost(trained, time.monotonic() - began)
    costs = {"model": dataclasses.replace(cost, train_seconds=train_seconds)}
    for name, drop in left_out(config, dataset.schema).items():
        logger.info("scoring %s without %s", split, name)
        scores[f"without {name}"] = trained.score(dataset, rows, drop=drop)
    label = ranking_label(dataset, config)
    compared = compared_scores(
        trained,
        dataset,
        rows,
        settings.baselines,
        label=label,
        trials=settings.peer_trials,
        seed=config.seed,
        dense=None if settings.dense is None else pathlib.Path(settings.dense),
    )
    report = evaluate_scores(
        dataset,
        rows,
        scores | compared.scores,
        split=split,
        label=label,
        no_relevant=settings.no_relevant,
        relevant_grade=settings.relevant_grade,
    )
    report = dataclasses.replace(report, costs=costs | compared.costs)
    tasks = report_tasks(dataset, rows, {"model": trained})
    figures = {
        "seconds": {"training": train_seconds, "evaluation": time.monotonic() - began},
        f"validation_{config.training.select_metric}": (
            state.best if trained.model.blend is None else trained.model.blend.figure
        ),
        "epochs": state.epoch,
        "tasks": tasks.to_dict(),
    } | report.to_dict()
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    write_whole(trained.folder / METRICS_FILE, text)
    return report, tasks
