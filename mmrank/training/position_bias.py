"""Position bias in training: checks of the positions, and weights by inverse propensity."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from mmrank.config import PositionBias, Task
from mmrank.data.batches import ListArrays
from mmrank.data.checks import as_numbers
from mmrank.data.findings import offenders
from mmrank.data.tables import DataError, Dataset
from mmrank.propensity.table import read_propensities

POSITION = "position"


def positions_read(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """Returns the label `position` if the training graph of a task reads it, else nothing."""
    return (POSITION,) if any(t.position_bias.name == "tower" for t in tasks.values()) else ()


def check_positions(dataset: Dataset, tasks: Mapping[str, Task]) -> None:
    """Checks that every training row has a position, if a task corrects position bias.

    Tables of propensities are read once here, so that an invalid one is reported before slow work.

    Raises:
      DataError: The schema has no label `position`, a training row has no position of 1 or above,
        or a table of propensities cannot be read.
    """
    wanting = [name for name, t in tasks.items() if t.position_bias.name != "none"]
    if not wanting:
        return
    schema, rows = dataset.schema, dataset.rows("train")
    feature = schema.label(POSITION)
    where = f"task {wanting[0]!r}: position_bias needs the position of every row"
    if feature is None:
        raise DataError(
            f"{schema.lists.file}: {where}; add the column and, under features, "
            f"`- {{name: {POSITION}, kind: number, side: label}}`"
        )
    wrong = ~(as_numbers(rows[feature.column]) >= 1)
    if wrong.any():
        what = f"{where}, counted from 1; fill it or drop the list"
        raise DataError(
            offenders(schema.lists.file, feature.column, wrong, rows[feature.column], what)
        )
    for task in tasks.values():
        if task.position_bias.propensities is not None:
            read_propensities(pathlib.Path(task.position_bias.propensities))


def propensity_weighted(arrays: ListArrays, tasks: Mapping[str, Task]) -> ListArrays:
    """Returns the lists with weights by inverse propensity, for the tasks that use `ipw`.

    A row with a click gets the weight 1 / max(p, clip), where p is the propensity of the row's
    position. For positions beyond the table, p is that of the last position in the table. Rows
    without a click have weight 1. Clipping bounds the weights and so the variance, at the cost of
    some bias at the bottom of the page.

    Args:
      arrays: The training lists, with the label `position`.
      tasks: Tasks by name.

    Raises:
      DataError: A table of propensities cannot be read.

    Source: Joachims et al., "Unbiased learning-to-rank with biased feedback" (WSDM 2017),
      equation 3; for a softmax, Ai et al., "Unbiased learning to rank with unbiased propensity
      estimation" (SIGIR 2018), equation 9; clipping: Strehl et al. 2010.
    """
    weights = dict(arrays.weights)
    for name, task in tasks.items():
        if task.position_bias.name == "ipw":
            clicked = np.nan_to_num(arrays.labels[task.label or name]) > 0
            inverse = 1.0 / _propensities(task.position_bias, arrays.labels[POSITION])
            weights[name] = np.where(clicked, inverse, 1.0).astype(np.float32)
    return dataclasses.replace(arrays, weights=weights)


def _propensities(bias: PositionBias, positions: np.ndarray) -> np.ndarray:
    assert bias.propensities is not None
    table = read_propensities(pathlib.Path(bias.propensities))
    index = np.clip(positions.astype(np.int64), 1, len(table)) - 1
    return np.maximum(table[index], bias.clip)
