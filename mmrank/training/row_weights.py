"""Weights of the training rows in the losses: higher for rare items, lower for pseudo-labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmrank.config import ConfigError
from mmrank.data.batches import GRADE_TASK, ListArrays
from mmrank.data.frequency import training_counts
from mmrank.data.tables import DataError, Dataset
from mmrank.data.tail_weights import tail_weights
from mmrank.ranking.tasks import TaskSpec
from mmrank.schema import PSEUDO


def training_weights(
    dataset: Dataset, popularity_weight: float, pseudo_weight: float
) -> np.ndarray | None:
    """Returns the weights [rows] float32 of the training rows; None if all weights are 1.

    Args:
      dataset: The dataset.
      popularity_weight: Power of inverse popularity, see `tail_weights`; 0 for equal weights.
      pseudo_weight: Factor on rows whose label `pseudo` is above 0.

    Raises:
      ConfigError: A number is below 0 or not finite.
      DataError: `pseudo_weight` is not 1, and the schema has no label `pseudo`.
    """
    for name, value in (("popularity_weight", popularity_weight), ("pseudo_weight", pseudo_weight)):
        if not 0 <= value < np.inf:
            raise ConfigError(f"training.{name}: expected 0 or more, got {value:g}")
    rows = dataset.rows("train")
    weights = np.ones(len(rows), np.float32)
    if popularity_weight:
        weights *= tail_weights(training_counts(dataset)[rows["_item"]], popularity_weight)
    if pseudo_weight != 1:
        feature = dataset.schema.label(PSEUDO)
        if feature is None:
            raise DataError(
                f"{dataset.schema.lists.file}: training.pseudo_weight is {pseudo_weight:g}, but "
                "the schema has no label 'pseudo'; remove it, or make such grades with "
                "`python -m mmrank.pseudo_label`"
            )
        given = rows[feature.column].to_numpy(dtype=np.float64, na_value=0.0) > 0
        weights *= np.where(given, np.float32(pseudo_weight), np.float32(1))
    return None if (weights == 1).all() else weights


def weighted(
    arrays: ListArrays, tasks: Sequence[TaskSpec], weights: np.ndarray | None
) -> ListArrays:
    """Returns the lists with weights for every task, multiplied by those that a task already has.

    Args:
      arrays: The lists.
      tasks: The tasks; empty for a ranker that learns grades.
      weights: Weights of the rows, [rows]; None returns the lists unchanged.
    """
    if weights is None:
        return arrays
    names = [task.name for task in tasks] or [GRADE_TASK]
    product = {n: weights * arrays.weights[n] if n in arrays.weights else weights for n in names}
    return dataclasses.replace(arrays, weights={**arrays.weights, **product})
