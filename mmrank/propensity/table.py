"""Writes propensities as a CSV table, and reads them back for weights in training."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from mmrank.data.findings import offenders
from mmrank.data.reading import read_table
from mmrank.data.tables import DataError
from mmrank.outputs import write_whole
from mmrank.propensity.estimate import Propensities

COLUMNS = ("position", "propensity", "low", "high", "clicks", "impressions")


def write_propensities(file: pathlib.Path, found: Propensities) -> None:
    """Writes the table, with a row for every position from 1."""
    table = pd.DataFrame(
        {
            "position": np.arange(1, len(found.propensity) + 1),
            "propensity": found.propensity,
            "low": found.low,
            "high": found.high,
            "clicks": found.clicks.astype(np.int64),
            "impressions": found.impressions.astype(np.int64),
        }
    )
    write_whole(file, table.to_csv(index=False, float_format="%.6g"))


def read_propensities(file: pathlib.Path) -> np.ndarray:
    r"""The propensities [K] in a table with the columns `position` and `propensity`.

    Raises:
      DataError: The file or a column is missing, the positions are not 1, 2, 3, …, or a propensity
        is not above 0.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("propensities.csv")
      >>> _ = file.write_text("position,propensity\n1,1\n2,0.5\n")
      >>> read_propensities(file).tolist()
      [1.0, 0.5]
    """
    table = read_table(file)
    for column in COLUMNS[:2]:
        if column not in table:
            raise DataError(
                f"{file}: no column {column!r}; make the table with `python -m mmrank.propensity`"
            )
    numbers = {c: pd.to_numeric(table[c], errors="coerce").to_numpy(float) for c in COLUMNS[:2]}
    wrong = numbers["position"] != np.arange(1, len(table) + 1)
    if wrong.any() or not len(table):
        what = "positions must be 1, 2, 3, … without a gap"
        raise DataError(offenders(str(file), "position", wrong, table["position"], what))
    propensity = numbers["propensity"]
    wrong = ~((propensity > 0) & np.isfinite(propensity))
    if wrong.any():
        what = "is not a propensity; it must be above 0"
        raise DataError(offenders(str(file), "propensity", wrong, table["propensity"], what))
    return propensity
