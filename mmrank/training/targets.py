"""The labels that training learns from and selects weights by."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.batches import GRADE_TASK, ListArrays, label_name, weights_name
from mmrank.data.checks import as_numbers
from mmrank.data.tables import DataError, Dataset
from mmrank.models import MASK
from mmrank.ranking.labels import masked_labels
from mmrank.ranking.metrics import METRICS, make_metric
from mmrank.ranking.tasks import TaskSpec, labels_read
from mmrank.schema import LABELS, did_you_mean

logger = logging.getLogger(__name__)


def check_labels(dataset: Dataset, tasks: Sequence[TaskSpec], select_by: str | None) -> None:
    """Checks that the dataset has every label that the tasks and the selection of weights read.

    A label without a value above 0 is logged as a warning.

    Raises:
      ConfigError: `select_by` is not a label.
      DataError: The schema does not have a label, or no training row has a value for it.
    """
    check_select_by(select_by)
    schema, train = dataset.schema, dataset.rows("train")
    columns = {f.name: f.column for f in schema.side("label")}
    wanted = dict.fromkeys([*labels_read(tasks), *filter(None, [select_by])])
    for label in wanted:
        where = f"{dataset.folder / schema.lists.file}, column {columns.get(label, label)!r}"
        if label not in columns:
            raise DataError(
                f"{where}: the config learns or selects by the label {label!r}, which is not in "
                f"the schema; add the column and, under features, "
                f"`- {{name: {label}, kind: number, side: label}}`, or remove the task"
            )
        values = as_numbers(train[columns[label]])
        if not np.isfinite(values).any():
            raise DataError(f"{where}: no training row has a {label}; fill it or remove the task")
        if not (values > 0).any():
            logger.warning("%s: no training row has a %s above 0", where, label)


def check_select_by(select_by: str | None) -> None:
    """Checks that the value is a label or None.

    Raises:
      ConfigError: It is not a label.
    """
    if select_by is not None and select_by not in LABELS:
        raise ConfigError(
            f"training.select_by: unknown label {select_by!r}{did_you_mean(select_by, LABELS)}"
        )


def check_select_metric(name: str) -> None:
    """Checks that the name is that of a metric that can select the best weights.

    Raises:
      ConfigError: It is not.
    """
    try:
        make_metric(name)
    except ValueError as error:
        near = did_you_mean(name.partition("@")[0], METRICS)
        raise ConfigError(f"training.select_metric: {error}{near}") from error


def for_training(arrays: ListArrays, tasks: Sequence[TaskSpec]) -> ListArrays:
    """Returns the lists with the grades by which long lists are cut.

    With tasks, the grade is 1 for a row whose label is above 0 for any task, else 0.
    """
    if not tasks:
        return arrays
    known = [np.nan_to_num(arrays.labels[task.label]) > 0 for task in tasks]
    return dataclasses.replace(arrays, grades=np.any(known, axis=0).astype(np.float32))


def for_selection(
    arrays: ListArrays, tasks: Sequence[TaskSpec], select_by: str | None
) -> ListArrays:
    """Returns the lists with the grades that select the best weights.

    The grades are the values of `select_by`, else of the first task's label, else the lists' own
    grades. Dwell times become log(1 + seconds).
    """
    label = select_by or (tasks[0].label if tasks else None)
    if label is None:
        return arrays
    values = np.nan_to_num(arrays.labels[label])
    return dataclasses.replace(arrays, grades=np.log1p(values) if label == "dwell" else values)


def for_metric(arrays: ListArrays, metric: str, relevant_grade: float) -> ListArrays:
    """Returns the lists with the grades that a metric reads.

    NDCG reads the grades. For all other metrics, the grade is 1 for a relevant item, else 0.
    """
    if metric.partition("@")[0] == "ndcg":
        return arrays
    relevant = np.asarray(arrays.grades) >= relevant_grade
    return dataclasses.replace(arrays, grades=relevant.astype(np.float32))


def take_targets(batch: dict[str, tf.Tensor], tasks: Sequence[TaskSpec]) -> tuple[Any, Any]:
    """Removes labels and weights [B, L] from a batch and returns them.

    The weights are None if the batch has none. With several tasks, both are mappings by task, and a
    task without weights is missing from the mapping of weights.
    """
    mask, grades = batch[MASK], batch.pop("grades")
    if not tasks:
        return masked_labels(grades, mask), batch.pop(weights_name(GRADE_TASK), None)
    values = {label: batch.pop(label_name(label)) for label in labels_read(tasks)}
    targets = {task.name: task.targets(values, mask) for task in tasks}
    given = [task.name for task in tasks if weights_name(task.name) in batch]
    weights = {name: batch.pop(weights_name(name)) for name in given}
    if len(tasks) == 1:
        (task,) = tasks
        return targets[task.name], weights.get(task.name)
    return targets, weights or None
