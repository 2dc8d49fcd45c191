"""A finding: one problem of a dataset, in a form that both people and programs can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.outputs import UserError, shown

SHOWN = 3
TRAINING, GRADES = "training", "grades"


class DataError(UserError):
    """Data that cannot be used; the message names the file, the column, the rows and the remedy.

    Example:
      >>> import pathlib
      >>> from mmrank.data.tables import load_dataset
      >>> text = "features: [{name: title, kind: text, side: item}]"
      >>> _ = pathlib.Path("schema.yaml").write_text(text)
      >>> load_dataset(".")
      Traceback (most recent call last):
      mmrank.data.findings.DataError: ...: no such file, but the schema names it; ...
    """


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of problem in one column.

    Attributes:
      file: The file as the schema names it.
      column: The column, or None for the file as a whole.
      count: Number of offending rows, lists or files.
      rows: The first of them: data row, counted from 1 without the header, and value.
      what: What is wrong.
      remedy: How to fix it; empty if `what` says it.
      fatal: Whether it is an error rather than a warning.
      concerns: The only use of the data that it matters to: `TRAINING`, or `GRADES` for uses that
        need grades; empty if it matters to every use.

    Example:
      >>> finding = Finding("products.csv", "price", 2, ((3, "'x'"),), "is not a number", "use 9.5")
      >>> print(finding)
      products.csv, column 'price': is not a number [2: row 3: 'x', …]; use 9.5
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
        source = self.file if self.column is None else f"{self.file}, column {self.column!r}"
        shown = ", ".join(f"row {row}: {value}" for row, value in self.rows)
        if shown:
            dots = ", …" if self.count > len(self.rows) else ""
            shown = f" [{self.count:,}: {shown}{dots}]"
        return "; ".join(filter(None, [f"{source}: {self.what}{shown}", self.remedy]))


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
      values: Values of the column, [rows].
    """
    rows = np.flatnonzero(np.asarray(wrong, dtype=bool))
    if len(rows):
        # Row numbers refer to the file, whose rows may have been left out in part.
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


def offenders(file: str, column: str, wrong: np.ndarray, values: pd.Series, what: str) -> str:
    """A message of one line: file, column, first offending rows with their values, what is wrong.

    Rows are counted from 1 without the header, by the index of `values`.
    """
    rows = np.flatnonzero(wrong)
    first = ", ".join(f"row {values.index[r] + 1}: {shown(values.iloc[r])}" for r in rows[:3])
    return f"{file}, column {column!r}: {len(rows)} value(s), {first}: {what}"
