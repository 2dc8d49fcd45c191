"""An experiment looked at every day, without more false discoveries than one look makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmrank.evaluation.significance import holm
from mmrank.experiments.arms import welch
from mmrank.experiments.confidence_sequence import always_valid
from mmrank.experiments.units import DAY, Metric, Units

__all__ = ["LEAST_UNITS", "Look", "daily_looks"]

LEAST_UNITS = 30  # of each group at the first look: the sequence is asymptotic


@dataclasses.dataclass(frozen=True)
class Look:
    """A group under one metric at the end of one day.

    Attributes:
      day: The day, from 1; the first is the one on which the first outcome was complete.
      metric, group: The metric and the group.
      units: Units of the group and of the control whose outcomes were complete.
      difference, low, high: The group less the control, with an interval that may be looked at
        every day.
      p_value: Always-valid p-value: the smallest of this look and those before.
      p_holm: The same, corrected for all groups and metrics of the experiment.
    """

    day: int
    metric: str
    group: str
    units: int
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float


def daily_looks(
    units: Units, metrics: Sequence[Metric], *, planned: int, alpha: float = 0.05
) -> list[Look]:
    """Returns the looks at the end of each day (UTC), by day, metric and group.

    Stopping at the first look with `p_holm` of at most `alpha` finds a difference that is not there
    with a probability of at most `alpha`, however many days there are. A unit counts once its
    outcome is complete, so that no look changes what an earlier one saw. Looks begin when each
    group has `LEAST_UNITS` units, and every difference has a spread.

    Args:
      units: The outcomes, with a window.
      metrics: The metrics.
      planned: Units in all groups together at which the intervals are tightest; chosen before.
      alpha: Probability of a false discovery.

    Raises:
      ValueError: The outcomes have no window.
    """
    if units.complete is None:
        raise ValueError("looks by day need outcomes with a window")
    days = np.floor(units.complete / DAY).astype(int)
    days -= days.min()
    pairs = [(metric, name) for metric in metrics for name in units.groups[1:]]
    each = 2 * planned / len(units.groups)  # of two groups together
    smallest, looks = np.ones(len(pairs)), list[Look]()
    for day in range(int(days.max()) + 1):
        kept = days <= day
        counts = units.counts(kept)
        if counts.min() < LEAST_UNITS:
            continue
        tested = []
        for metric in metrics:
            control, *others = units.values(metric, kept)
            tested += [
                (*welch(values, control)[:2], len(values) + len(control)) for values in others
            ]
        if not all(error > 0 for _, error, _ in tested):
            continue
        found = [always_valid(d, e, n, planned=each, alpha=alpha) for d, e, n in tested]
        smallest = np.minimum(smallest, [look.p for look in found])
        corrected = holm(smallest)
        looks += [
            Look(
                day=day + 1,
                metric=str(metric),
                group=name,
                units=tested[row][2],
                difference=tested[row][0],
                low=found[row].low,
                high=found[row].high,
                p_value=float(smallest[row]),
                p_holm=float(corrected[row]),
            )
            for row, (metric, name) in enumerate(pairs)
        ]
    return looks
