"""The outcomes of an experiment by unit: what each user, or each page, did in which group."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmrank.config import ConfigError
from mmrank.data.cells import as_ids, as_numbers, seconds
from mmrank.data.findings import DataError, offenders
from mmrank.schema import did_you_mean

__all__ = ["Metric", "Units", "units_of"]

DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Metric:
    """What is compared: the mean of a column by unit, or the ratio of two columns' sums.

    Attributes:
      over: The column.
      under: The column that it is divided by; None for the mean by unit.

    Example:
      >>> Metric.parse("clicks/pages")
      Metric(over='clicks', under='pages')
    """

    over: str
    under: str | None = None

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Returns the metric that a text such as `clicks` or `clicks/pages` names."""
        over, slash, under = text.partition("/")
        if not over or bool(slash) != bool(under):
            raise ConfigError(f"--metric {text!r}: write it as clicks or clicks/pages")
        return cls(over, under or None)

    def __str__(self) -> str:
        return self.over if self.under is None else f"{self.over}/{self.under}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.over,) if self.under is None else (self.over, self.under)


@dataclasses.dataclass(frozen=True)
class Units:
    """The outcomes of each unit, summed over its rows.

    Attributes:
      groups: Names of the groups, the control first.
      group: Index of each unit's group, [units] int.
      sums: By column, the sum over each unit's rows, [units].
      complete: When each unit's window ends, seconds since 1970, [units]; None without a window.
      mixed: How many units in several groups were left out.
      incomplete: How many units were left out because the table ends before their window does.
    """

    groups: tuple[str, ...]
    group: np.ndarray
    sums: dict[str, np.ndarray]
    complete: np.ndarray | None
    mixed: int = 0
    incomplete: int = 0

    def values(self, metric: Metric, kept: np.ndarray | None = None) -> list[np.ndarray]:
        """Returns values of each group's units, whose mean is the metric.

        For a ratio R of sums of y and x, they are R + (y − R x) / mean(x): their variance is that
        of the ratio by the delta method.

        Args:
          metric: The metric.
          kept: Which units count, [units] bool; all of them unless given.

        Raises:
          DataError: A group's column under a ratio sums to 0.

        Source: Deng, Knoblich and Lu, "Applying the delta method in metric analytics" (KDD 2018).
        """
        found = []
        for index, name in enumerate(self.groups):
            rows = self.group == index if kept is None else kept & (self.group == index)
            over = self.sums[metric.over][rows]
            if metric.under is not None:
                under = self.sums[metric.under][rows]
                if under.sum() == 0:
                    raise DataError(f"{metric}: {metric.under} is 0 for all units of {name}")
                ratio = over.sum() / under.sum()
                over = ratio + (over - ratio * under) / under.mean()
            found.append(over)
        return found

    def counts(self, kept: np.ndarray | None = None) -> np.ndarray:
        """Number of units of each group, [groups] int."""
        return np.bincount(self.group if kept is None else self.group[kept], None, len(self.groups))


def units_of(
    frame: pd.DataFrame,
    file: str,
    *,
    unit: str,
    by: str,
    metrics: Sequence[Metric],
    control: str | None = None,
    time: str | None = None,
    window: float | None = None,
    leave_out_mixed: bool = False,
) -> Units:
    """Returns the outcomes of a table by unit.

    Args:
      frame: A row for each page, or for each unit.
      file: Name of the table for messages.
      unit: Column of what was assigned to the groups, such as the user.
      by: Column of the groups.
      metrics: What will be compared.
      control: The group that others are compared with; the first by name unless given.
      time: Column of the times of rows; None if no time matters.
      window: Days from a unit's first row in which its outcomes count; all rows unless given.
      leave_out_mixed: Whether units in several groups are left out, instead of being an error.

    Raises:
      DataError: A column is missing or has a cell without a value, there are fewer than two groups,
        a group has fewer than two units, or a unit is in several groups.
      ValueError: There is a window and no time.

    Example:
      >>> table = pd.DataFrame({
      ...     "user": ["u", "u", "v", "w", "x"], "arm": [1, 1, 1, 2, 2], "clicks": [1, 2, 0, 4, 1],
      ... })
      >>> found = units_of(table, "t.csv", unit="user", by="arm", metrics=[Metric("clicks")])
      >>> found.groups, [values.tolist() for values in found.values(Metric("clicks"))]
      (('1', '2'), [[3.0, 0.0], [4.0, 1.0]])
    """  # fmt: skip
    if window is not None and time is None:
        raise ValueError("a window needs the times of rows")
    numbers = list(dict.fromkeys(column for metric in metrics for column in metric.columns))
    for column in [unit, by, *numbers, *filter(None, [time])]:
        if column not in frame:
            raise DataError(f"{file}: no column {column!r}{did_you_mean(column, map(str, frame))}")
    read = pd.DataFrame({"unit": as_ids(frame[unit]), "group": as_ids(frame[by])})
    for column, ids in ((unit, read["unit"]), (by, read["group"])):
        _refuse(file, column, ids.isna().to_numpy(), frame[column], "give each row a value")
    for column in numbers:
        read[f"+{column}"] = as_numbers(frame[column])
        wrong = ~np.isfinite(read[f"+{column}"].to_numpy())
        _refuse(file, column, wrong, frame[column], "is no number; write 0 where nothing happened")
    if time is not None:
        read["time"] = seconds(frame[time])
        wrong = ~np.isfinite(read["time"].to_numpy())
        _refuse(file, time, wrong, frame[time], "is no time; write seconds or 2026-01-31T08:15:00Z")
    several = read.groupby("unit")["group"].transform("nunique").to_numpy() > 1
    mixed = read["unit"][several]
    if len(mixed) and not leave_out_mixed:
        raise DataError(
            f"{file}: {mixed.nunique():,} of {read['unit'].nunique():,} values of {unit!r} are in "
            f"several groups, such as {mixed.iloc[0]!r}: if groups were drawn for each page, make "
            "pages the unit (--unit page); if only a few moved, add --leave-out-mixed"
        )
    read = read[~several]
    incomplete = 0
    if window is not None:
        read["complete"] = read.groupby("unit")["time"].transform("min") + window * DAY
        late = read["complete"] > read["time"].max()
        incomplete = read["unit"][late].nunique()
        read = read[~late & (read["time"] <= read["complete"])]
    how = {"group": "first", **{f"+{column}": "sum" for column in numbers}}
    if "complete" in read:
        how["complete"] = "first"
    summed = read.groupby("unit").agg(how)
    complete = summed["complete"].to_numpy(np.float64) if "complete" in summed else None
    groups = _groups(summed["group"], file, by, control)
    return Units(
        groups,
        pd.Index(groups).get_indexer(summed["group"]),
        {column: summed[f"+{column}"].to_numpy(np.float64) for column in numbers},
        complete,
        mixed=mixed.nunique(),
        incomplete=incomplete,
    )


def _groups(group: pd.Series, file: str, by: str, control: str | None) -> tuple[str, ...]:
    """The names of the groups, the control first; each has two units or more."""
    counts = group.value_counts()
    names = sorted(counts.index, key=lambda name: (not name.isdecimal(), len(name), name))
    if len(names) < 2:
        only = f" only {names[0]!r}" if names else " none"
        raise DataError(f"{file}, column {by!r}: expected two groups or more, found{only}")
    if control is not None and control not in names:
        raise DataError(f"--control: no group {control!r}{did_you_mean(control, names)}")
    few = [name for name in names if counts[name] < 2]
    if few:
        raise DataError(f"{file}, column {by!r}: fewer than two units in group {few[0]!r}")
    first = names[0] if control is None else control
    return (first, *(name for name in names if name != first))


def _refuse(file: str, column: str, wrong: np.ndarray, values: pd.Series, what: str) -> None:
    if wrong.any():
        raise DataError(offenders(file, column, wrong, values, what))
