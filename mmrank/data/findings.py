"""One thing found wrong with a dataset, in a form that both people and programs can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.outputs import UserError

SHOWN = 3
TRAINING, GRADES = "training", "grades"


class DataError(UserError):
    """Data that cannot be used; the message names the file, the column, the rows and the remedy."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of trouble in one column.

    Attributes:
      file: The file as the schema names it.
      column: The column, or None where the file as a whole is meant.
      count: Offending rows, lists or files.
      rows: The first of them: data row, counted from 1 without the header, and value.
      what: What is wrong.
      remedy: How to mend it; empty where `what` says it.
      fatal: An error, not a warning.
      concerns: What alone it is of any matter to: `TRAINING`, or `GRADES` where these are needed;
        empty for everything that reads the data.
    """

    file: str
    column: str | None
    count: int
    rows: tuple[tuple[int, str], ...]
    what: str
    remedy: str
    fatal: bool = True
    concerns: str = ""

    def __str__(self) -> str:
        place = self.file if self.column is None else f"{self.file}, column {self.column!r}"
        shown = ", ".join(f"row {row}: {value}" for row, value in self.rows)
        if shown:
            dots = ", …" if self.count > len(self.rows) else ""
            shown = f" [{self.count:,}: {shown}{dots}]"
        return "; ".join(filter(None, [f"{place}: {self.what}{shown}", self.remedy]))


def found(
    file: str,
    column: str,
    wrong: np.ndarray | pd.Series,
    values: pd.Series,
    what: str,
    remedy: str,
    fatal: bool = True,
    concerns: str = "",
) -> Iterator[Finding]:
    """One finding if any row is wrong, with the first of those rows.

    Args:
      wrong: bool [rows].
      values: What the column holds, [rows].
    """
    rows = np.flatnonzero(np.asarray(wrong, dtype=bool))
    if len(rows):
        # By their number in the file, of which some may have been left out.
        first = tuple((int(values.index[r]) + 1, _shown(values.iloc[r])) for r in rows[:SHOWN])
        yield Finding(file, column, len(rows), first, what, remedy, fatal, concerns)


def whole(
    file: str,
    column: str | None,
    what: str,
    remedy: str,
    fatal: bool = True,
    concerns: str = "",
) -> Finding:
    """A finding about a column or file as a whole."""
    return Finding(file, column, 1, (), what, remedy, fatal, concerns)


def _shown(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return "missing"
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "…"
