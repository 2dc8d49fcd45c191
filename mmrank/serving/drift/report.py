"""How far the values of each feature are from the training data, as a table."""

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
    """One measure of one feature.

    Attributes:
      feature, measure: What was compared.
      values: How many values were counted.
      index: Their population stability index; None of too few values.
      limit: The index above which it counts as drift.
      bin: The bin whose share changed most.
      before, after: Its share in the training data and in the values.
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
    """The shift of every measure that was counted, in the reference's order.

    Args:
      reference: The training data.
      counts: Of what is compared, [bins] for each measure.
      limit: The index above which a feature counts as shifted.
      least: Values below which none is judged.
    """
    shifts = []
    for bins in reference.bins:
        counted = counts.get((bins.feature, bins.measure))
        if counted is not None and counted.sum() > 0:
            shifts.append(_shift(bins, counted, limit(bins.feature), least))
    return shifts


def table(shifts: Sequence[Shift]) -> str:
    """The shifts, the largest first, one a line."""
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
