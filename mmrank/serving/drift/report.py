"""A table of how far the values of each feature are from the training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrank.serving.drift.bins import Bins
from mmrank.serving.drift.reference import Reference
from mmrank.serving.drift.stability import stability_index

Counts = Mapping[tuple[str, str], np.ndarray]  # by feature and measure


@dataclasses.dataclass(frozen=True)
class Shift:
    """The shift of one measure of one feature.

    Attributes:
      feature, measure: What was compared.
      values: Number of values that were counted.
      index: Their population stability index; None for too few values.
      limit: The index above which the shift counts as drift.
      bin: The bin whose share changed most.
      before, after: That bin's share in the training data and in the values.

    Example:
      >>> Shift("price", "value", 500, 0.3, limit=0.25, bin="<= 9", before=0.1, after=0.4).drifted
      True
    """

    feature: str
    measure: str
    values: int
    index: float | None
    limit: float
    bin: str
    before: float
    after: float

    @property
    def drifted(self) -> bool:
        """Whether the index is above the limit."""
        return self.index is not None and self.index > self.limit


def compare(
    reference: Reference, counts: Counts, limit: Callable[[str], float], least: int
) -> list[Shift]:
    """Returns the shift of every measure that was counted, in the reference's order.

    Args:
      reference: The distribution of the training data.
      counts: Counts of the compared values, [bins] for each measure.
      limit: Returns the index above which a feature, given by name, counts as shifted.
      least: Number of values that a measure needs to be judged.
    """
    shifts = []
    for bins in reference.bins:
        counted = counts.get((bins.feature, bins.measure))
        if counted is not None and counted.sum() > 0:
            shifts.append(_shift(bins, counted, limit(bins.feature), least))
    return shifts


def table(shifts: Sequence[Shift]) -> str:
    """Returns the shifts as a table, one a line, the largest first."""
    head = ("feature", "measure", "values", "PSI", "limit", "", "changed most")
    rows = [head]
    for shift in sorted(shifts, key=lambda s: -(s.index if s.index is not None else -1)):
        verdict = "too few" if shift.index is None else "DRIFT" if shift.drifted else "ok"
        change = f"{shift.bin}: {shift.before:.1%} -> {shift.after:.1%}"
        index = "" if shift.index is None else f"{shift.index:.3f}"
        values = (shift.feature, shift.measure, str(shift.values), index, f"{shift.limit:g}")
        rows.append((*values, verdict, change))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _shift(bins: Bins, counted: np.ndarray, limit: float, least: int) -> Shift:
    expected = np.array(bins.expected)
    before, after = expected / expected.sum(), counted / counted.sum()
    most = int(np.argmax(np.abs(after - before)))
    total = int(counted.sum())
    return Shift(
        bins.feature,
        bins.measure,
        total,
        stability_index(expected, counted) if total >= least else None,
        limit,
        bins.labels[most],
        float(before[most]),
        float(after[most]),
    )
