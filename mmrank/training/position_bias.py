"""Position bias in training: the positions that are needed, and weights by inverse propensity."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from mmrank.config import PositionBias, Task
from mmrank.data.batches import ListArrays
from mmrank.data.checks import as_numbers
from mmrank.data.tables import DataError, Dataset, offenders
from mmrank.propensity.table import read_propensities

POSITION = "position"


def positions_read(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """The label `position` if the training graph of some tasks is fed it, else nothing."""
    return (POSITION,) if any(t.position_bias.name == "tower" for t in tasks.values()) else ()


def check_positions(dataset: Dataset, tasks: Mapping[str, Task]) -> None:
    """Nothing, if every training row has the position that some task's bias is told by.

    Tables of propensities are read once here, so that a wrong one is told before anything slow.

    Raises:
      DataError: The schema names no position, a training row has none from 1, or a table of
        propensities cannot be read.
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
    """The lists with a weight of 1 / max(p, clip) on rows with a click, for tasks that want it.

    p is the propensity of the row's position, that of the last one in the table for deeper rows;
    rows without a click weigh 1. Clipping bounds the weights, and with them the variance, at the
    price of some bias at the bottom of the page.

    Args:
      arrays: The training lists, with the label `position`.
      tasks: By name.

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
    place = np.clip(positions.astype(np.int64), 1, len(table)) - 1
    return np.maximum(table[place], bias.clip)
