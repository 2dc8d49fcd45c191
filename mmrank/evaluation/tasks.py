"""Measures how well a run's tasks fit their labels, overall and on items rare in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.tables import Dataset
from mmrank.evaluation.auc import AucDifference, auc_differences
from mmrank.evaluation.classify import HALF, Classifier, classify
from mmrank.evaluation.offline import learned_label, list_offsets
from mmrank.evaluation.report import plain, text_table
from mmrank.features import row_labels
from mmrank.ranking.task_metrics import task_figures, task_truth
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec

if TYPE_CHECKING:
    from mmrank.config import Config
    from mmrank.trained_run import Run

FEW = 5


@dataclasses.dataclass(frozen=True)
class TaskFigures:
    """The figures of one scorer on one task and part of the candidates.

    Attributes:
      task, label: The task, and the label that it is measured by.
      part: `all`, or a part of the candidates. Parts are formed by the number of training rows of
        the candidate's item in which the label is above 0.
      scorer: The scorer whose outputs are measured.
      rows, positives: Number of candidates, and of candidates whose label is above 0.
      figures: auc, log_loss and ece of a probability, or rmse and mae of a value.
    """

    task: str
    label: str
    part: str
    scorer: str
    rows: int
    positives: int
    figures: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """All figures of all tasks.

    Attributes:
      figures: The figures by task, part and scorer.
      differences: ROC-AUC differences between the first scorer and every other one.

    Example:
      >>> figures = {"auc": 0.75, "log_loss": 0.4, "ece": 0.01}
      >>> click = TaskFigures("click", "click", "all", "ours", 800, 90, figures)
      >>> print(TaskReport(figures=(click,), differences=()).to_text())
      task   candidates  scorer  rows  positive  ROC-AUC  log-loss     ECE
      --------------------------------------------------------------------
      click         all    ours   800        90   0.7500    0.4000  0.0100
    """

    figures: tuple[TaskFigures, ...]
    differences: tuple[AucDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns a mapping for `json.dumps(..., allow_nan=False)`; undefined values are None."""
        mapping: dict[str, Any] = plain(dataclasses.asdict(self))
        return mapping

    def to_text(self) -> str:
        """Returns the report as tables of plain text."""
        names = {
            "auc": "ROC-AUC",
            "log_loss": "log-loss",
            "ece": "ECE",
            "rmse": "RMSE",
            "mae": "MAE",
        }
        tables = []
        for kinds in (("auc", "log_loss", "ece"), ("rmse", "mae")):
            shown = [f for f in self.figures if set(kinds) == set(f.figures)]
            if shown:
                columns = [
                    ["task", *(f.task for f in shown)],
                    ["candidates", *(f.part for f in shown)],
                    ["scorer", *(f.scorer for f in shown)],
                    ["rows", *(f"{f.rows:,}" for f in shown)],
                    ["positive", *(f"{f.positives:,}" for f in shown)],
                ]
                for kind in kinds:
                    values = (f.figures[kind] for f in shown)
                    columns.append([names[kind], *("-" if v != v else f"{v:.4f}" for v in values)])
                tables.append(text_table(columns))
        if self.differences:
            differences = self.differences
            spans = (f"{d.difference:+.4f} [{d.low:+.4f} {d.high:+.4f}]" for d in differences)
            columns = [
                ["task", *(d.task for d in differences)],
                ["candidates", *(d.part for d in differences)],
                ["compared", *(f"{d.a} - {d.b}" for d in differences)],
                ["ROC-AUC", *spans],
            ]
            tables.append(text_table(columns))
        return "\n\n".join(tables) + "\n" if tables else ""


def ranking_label(dataset: Dataset, config: Config) -> str:
    """Returns the label that orders are measured by: grade if it exists, else `learned_label`."""
    return "grade" if dataset.schema.label("grade") is not None else learned_label(config)


def report_tasks(
    dataset: Dataset, rows: pd.DataFrame, runs: Mapping[str, Run], seed: int = 0
) -> TaskReport:
    """Returns the figures of some runs' tasks on the same candidates.

    Args:
      dataset: The dataset.
      rows: Candidate rows of the dataset, whole lists.
      runs: Runs by name. The first run is compared with the others on each task that has the same
        name and label in both. Runs without tasks, and tasks whose labels the dataset lacks, are
        left out.
      seed: Seed of the bootstrap.
    """
    with_tasks = {name: run.outputs for name, run in runs.items()}
    outputs = {name: o for name, o in with_tasks.items() if o is not None}
    raw = {name: runs[name].raw(dataset, rows) for name in outputs}
    return task_report(dataset, rows, outputs, raw, seed)


def task_report(
    dataset: Dataset,
    rows: pd.DataFrame,
    outputs: Mapping[str, TaskOutputs],
    raw: Mapping[str, Mapping[str, np.ndarray]],
    seed: int = 0,
) -> TaskReport:
    """Returns the same report as `report_tasks`, from network outputs that are already computed.

    Args:
      dataset, rows, seed: As for `report_tasks`.
      outputs: By scorer, the meaning of its outputs.
      raw: By scorer and task, the outputs of the network, [rows].
    """
    labels = row_labels(dataset.schema, rows)
    offsets = list_offsets(rows[dataset.schema.lists.list])
    figures: list[TaskFigures] = []
    differences: list[AucDifference] = []
    for task in _tasks(outputs, labels):
        having = {
            name: o
            for name, o in outputs.items()
            if any((t.name, t.label) == (task.name, task.label) for t in o.tasks)
        }
        truth, of_task = task_truth(task, labels)
        for part, inside in _parts(dataset, rows, task).items():
            kept = of_task & inside
            if not kept.any():
                continue
            counts = int(kept.sum()), int((truth[kept] > 0).sum())
            part_labels = {name: values[kept] for name, values in labels.items()}
            probabilities = {}
            for scorer, o in having.items():
                given = {t.name: raw[scorer][t.name][kept] for t in o.tasks}
                own = _only(o, task.name)
                found = task_figures(own, given, part_labels)[task.name]
                figures.append(TaskFigures(task.name, task.label, part, scorer, *counts, found))
                probabilities[scorer] = np.zeros(len(rows))
                probabilities[scorer][kept] = given[task.name]
            if not task.is_value:
                differences += auc_differences(
                    task.name, part, truth > 0, probabilities, kept, offsets, seed
                )
    return TaskReport(tuple(figures), tuple(differences))


def classify_tasks(
    dataset: Dataset, rows: pd.DataFrame, runs: Mapping[str, Run]
) -> list[Classifier]:
    """Measures the probabilities of some runs' tasks as classifiers, at a threshold of one half.

    Args:
      dataset, rows, runs: As for `report_tasks`.
    """
    labels = row_labels(dataset.schema, rows)
    found: list[Classifier] = []
    for name, run in runs.items():
        if run.outputs is None:
            continue
        raw = {n: tf.constant(v, tf.float32) for n, v in run.raw(dataset, rows).items()}
        probabilities = run.outputs.predictions(raw)
        for task in run.outputs.tasks:
            if not task.is_probability or not set(task.labels) <= set(labels):
                continue
            truth, part = task_truth(task, labels)
            if part.any():
                probability = {name: probabilities[task.name].numpy()[part]}
                found += classify(truth[part] > 0, probability, {name: HALF}, task.name)
    return found


def _tasks(
    outputs: Mapping[str, TaskOutputs], labels: Mapping[str, np.ndarray]
) -> Sequence[TaskSpec]:
    """Returns the distinct tasks whose labels are all known.

    Tasks with the same name and label are one task. It is defined by the first scorer that has it.
    """
    every = [task for o in outputs.values() for task in o.tasks if set(task.labels) <= set(labels)]
    return list({(task.name, task.label): task for task in reversed(every)}.values())[::-1]


def _only(outputs: TaskOutputs, task: str) -> TaskOutputs:
    kept = [t for t in outputs.tasks if t.name == task]
    return dataclasses.replace(outputs, tasks=kept, order=None)


def _parts(dataset: Dataset, rows: pd.DataFrame, task: TaskSpec) -> dict[str, np.ndarray]:
    """Returns parts of the candidates, bool [rows].

    Parts are formed by the number of training rows of a candidate's item in which the label is
    above 0. For values and for grades there is only the part `all`.
    """
    every = np.ones(len(rows), bool)
    if task.is_value or task.label == "grade":
        return {"all": every}
    train = dataset.rows("train")
    positive = row_labels(dataset.schema, train)[task.label] > 0
    items = train["_item"].to_numpy()[positive]
    seen = np.bincount(items, minlength=len(dataset.catalog))[rows["_item"].to_numpy()]
    what = f"training {task.label}s"
    return {
        "all": every,
        f"items without {what}": seen == 0,
        f"items with 1 to {FEW} {what}": (seen > 0) & (seen <= FEW),
        f"items with more {what}": seen > FEW,
    }
