"""A run from a dataset to an export: trained, calibrated, measured against baselines, exported."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
import time
from collections.abc import Sequence

import tensorflow as tf

from mmrank.build import Run, check_config
from mmrank.config import STATE_FILE, Config, ConfigError
from mmrank.data.tables import DataError, Dataset
from mmrank.encoders import HISTORY, KINDS
from mmrank.evaluation.calibration import calibrate, check_calibration
from mmrank.evaluation.compared import METRICS_FILE, check_compared, compared_scores, run_cost
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import TaskReport, ranking_label, report_tasks
from mmrank.features import MODEL_SIDES
from mmrank.outputs import write_whole
from mmrank.records.source import RecordLists
from mmrank.schema import Schema, did_you_mean
from mmrank.serving.export import export_run
from mmrank.training.callbacks import State
from mmrank.training.forest import add_trees
from mmrank.training.loop import train_run
from mmrank.training.workers import this_worker

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run came to.

    Attributes:
      run: The trained ranker.
      report: Its figures against the baselines.
      tasks: The figures of its tasks.
      export: The folder of the exported version.
      seconds: By step: training, evaluation, export.
    """

    run: Run
    report: Report
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
    try:
        check_compared(config.evaluation.baselines)
    except ValueError as error:
        raise ConfigError(f"evaluation.baselines: {error}") from error
    if config.evaluation.peer_trials < 1:
        raise ConfigError(
            f"evaluation.peer_trials: {config.evaluation.peer_trials}; a peer is tuned by 1 or more"
        )
    check_config(config)
    left_out(config, schema)
    check_calibration(config.evaluation.calibration)


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


def train(
    config: Config,
    dataset: Dataset,
    folder: pathlib.Path,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
    watchers: Sequence[tf.keras.callbacks.Callback] = (),
) -> Run:
    """The ranker trained into a run's folder, trees among it if the config has them.

    Arguments and errors as of `train_run` and `add_trees`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lists = None if config.data.records is None else RecordLists(config, dataset, folder)
    run = train_run(config, dataset, folder, resume, init_from, lists, strategy, watchers)
    # Workers that do not export have no use for them.
    return add_trees(run, dataset) if this_worker(config.training.strategy).is_chief else run


def measure_and_export(trained: Run, dataset: Dataset, started: float) -> Finished:
    """The figures of a trained run, which stay as RUN/metrics.json, and its export.

    Args:
      trained: A run that `train` gave.
      dataset: The dataset that it was trained on.
      started: When the job began, by `time.monotonic`.

    Raises:
      DataError: The split to report has no list.
    """
    config, folder = trained.config, trained.folder
    trained = calibrate(trained, dataset, config.evaluation.calibration)
    state = State.load(folder / STATE_FILE)
    trained_at = time.monotonic()

    # ---- evaluation
    split = config.evaluation.split
    rows = dataset.rows(split)
    if rows.empty:
        raise DataError(f"{dataset.folder}: the split {split!r} has no list; set evaluation.split")
    logger.info("scoring %s", split)
    scores = {"model": trained.score(dataset, rows)}
    cost = run_cost(trained, time.monotonic() - trained_at)
    costs = {"model": dataclasses.replace(cost, train_seconds=trained_at - started)}
    for name, drop in left_out(config, dataset.schema).items():
        logger.info("scoring %s without %s", split, name)
        scores[f"without {name}"] = trained.score(dataset, rows, drop=drop)
    settings = config.evaluation
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
    scores |= compared.scores
    report = evaluate_scores(
        dataset,
        rows,
        scores,
        split=split,
        label=label,
        no_relevant=settings.no_relevant,
        relevant_grade=settings.relevant_grade,
    )
    report = dataclasses.replace(report, costs=costs | compared.costs)
    tasks = report_tasks(dataset, rows, {"model": trained})
    evaluated_at = time.monotonic()
    seconds = {"training": trained_at - started, "evaluation": evaluated_at - trained_at}
    figures = {
        "seconds": seconds,
        f"validation_{config.training.select_metric}": (
            state.best if trained.model.blend is None else trained.model.blend.figure
        ),
        "epochs": state.epoch,
        "tasks": tasks.to_dict(),
    } | report.to_dict()
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / METRICS_FILE, text)

    # ---- export
    exported = export_run(trained, folder / "export", dataset)
    seconds = seconds | {"export": time.monotonic() - evaluated_at}
    return Finished(trained, report, tasks, exported, seconds)
