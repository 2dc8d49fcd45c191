"""The groups of an experiment compared with the control: Welch's test, corrected by Holm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from mmrank.data.findings import DataError
from mmrank.evaluation.significance import holm
from mmrank.experiments.units import Metric, Units

__all__ = ["Arm", "ArmDifference", "compare_arms", "welch"]


@dataclasses.dataclass(frozen=True)
class ArmDifference:
    """A group less the control.

    Attributes:
      mean, low, high: The difference with its interval.
      lift: The difference divided by the control's mean; None if that is 0.
      p_value: Two-sided p-value of Welch's test.
      p_holm: The same, corrected for all groups and metrics of the experiment.
    """

    mean: float
    low: float
    high: float
    lift: float | None
    p_value: float
    p_holm: float


@dataclasses.dataclass(frozen=True)
class Arm:
    """One group under one metric.

    Attributes:
      metric: The metric.
      group: Name of the group.
      units: How many units it has.
      mean, low, high: The metric with its interval.
      difference: Its difference from the control; None for the control itself.
    """

    metric: str
    group: str
    units: int
    mean: float
    low: float
    high: float
    difference: ArmDifference | None


def welch(values: np.ndarray, control: np.ndarray) -> tuple[float, float, float]:
    """Returns the difference of means, its standard error and Welch's degrees of freedom.

    Args:
      values, control: Values of both groups, at least two of each.

    Source: Welch, "The generalization of 'Student's' problem when several different population
      variances are involved" (Biometrika 1947).

    Example:
      >>> welch(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
      (1.0, 1.414..., 2.0)
    """
    parts = np.array([group.var(ddof=1) / len(group) for group in (values, control)])
    below = parts**2 / [len(values) - 1, len(control) - 1]
    freedom = parts.sum() ** 2 / below.sum() if parts.any() else np.nan
    return float(values.mean() - control.mean()), float(np.sqrt(parts.sum())), float(freedom)


def compare_arms(units: Units, metrics: Sequence[Metric], *, alpha: float = 0.05) -> list[Arm]:
    """Returns the groups under each metric, compared with the control.

    The p-values hold if the number of units was fixed before the experiment; for one that is looked
    at every day, see `daily_looks`.

    Args:
      units: The outcomes.
      metrics: The metrics.
      alpha: 1 less the coverage of the intervals.

    Raises:
      DataError: All units of two groups have the same value.

    Example:
      >>> outcomes = {"clicks": np.array([0.0, 1.0, 2.0, 3.0])}
      >>> units = Units(("a", "b"), np.array([0, 0, 1, 1]), outcomes, None)
      >>> control, arm = compare_arms(units, [Metric("clicks")])
      >>> control.mean, arm.mean, arm.difference.mean, round(arm.difference.p_value, 3)
      (0.5, 2.5, 2.0, 0.106)
    """
    tests = []
    for metric in metrics:
        control, *others = units.values(metric)
        for name, values in zip(units.groups[1:], others, strict=True):
            mean, error, freedom = welch(values, control)
            if error == 0:
                raise DataError(
                    f"{metric}: {name} and {units.groups[0]} have the same value for all of their "
                    "units; nothing can be tested"
                )
            tests.append((mean, error, freedom))
    means, errors, freedoms = np.array(tests).T
    p_values = 2 * stats.t.sf(np.abs(means / errors), freedoms)
    reach = stats.t.isf(alpha / 2, freedoms) * errors
    corrected = holm(p_values)
    arms, test = [], 0
    for metric in metrics:
        groups = units.values(metric)
        base = float(groups[0].mean())
        for index, values in enumerate(groups):
            mean, size = float(values.mean()), len(values)
            half = stats.t.isf(alpha / 2, size - 1) * values.std(ddof=1) / np.sqrt(size)
            difference = None
            if index:
                difference = ArmDifference(
                    mean=float(means[test]),
                    low=float(means[test] - reach[test]),
                    high=float(means[test] + reach[test]),
                    lift=float(means[test] / base) if base else None,
                    p_value=float(p_values[test]),
                    p_holm=float(corrected[test]),
                )
                test += 1
            name = units.groups[index]
            low, high = float(mean - half), float(mean + half)
            arms.append(Arm(str(metric), name, size, mean, low, high, difference))
    return arms
