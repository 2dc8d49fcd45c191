"""Evaluation and export of a trained ranker."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
import time

import pandas as pd

from mmrank.config import METRICS_FILE, STATE_FILE
from mmrank.data.tables import Dataset
from mmrank.evaluation.calibration import calibrate
from mmrank.evaluation.compared import compared_scores, run_cost
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import TaskReport, ranking_label, report_tasks
from mmrank.job.checks import left_out
from mmrank.outputs import write_whole
from mmrank.serving.export import export_run
from mmrank.trained_run import Run
from mmrank.training.state import State
from mmrank.training.validation import best_figure

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Finished:
    """The results of a run.

    Attributes:
      run: The trained ranker.
      report: Its figures next to the baselines' figures; None if there is no list to report.
      tasks: The figures of its tasks.
      export: The folder of the exported version.
      seconds: Duration of each step: training, evaluation, export.
    """

    run: Run
    report: Report | None
    tasks: TaskReport
    export: pathlib.Path
    seconds: dict[str, float]


def measure_and_export(trained: Run, dataset: Dataset, started: float) -> Finished:
    """Evaluates a trained run, writes the figures to RUN/metrics.json, and exports the run.

    If the split to report has no list, the run is only exported. If the evaluation fails, the
    export still happens, and the error is raised after it.

    Args:
      trained: A run that `train` returned.
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
        except Exception as error:  # noqa: BLE001 - raised after the export
            failed = error
    evaluated_at = time.monotonic()
    exported = export_run(trained, folder / "export", dataset)
    if failed is not None:
        logger.warning("the evaluation failed; the ranker is exported nevertheless: %s", exported)
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
    """The figures of a run and its baselines on some rows; writes them to RUN/metrics.json."""
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
        f"validation_{config.training.select_metric}": best_figure(trained, state),
        "epochs": state.epoch,
        "tasks": tasks.to_dict(),
    } | report.to_dict()
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    write_whole(trained.folder / METRICS_FILE, text)
    return report, tasks
