"""Confidence sequences: intervals that all hold at once, however often the data are looked at."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

__all__ = ["Always", "always_valid", "normal_factor", "tightest_at"]


@dataclasses.dataclass(frozen=True)
class Always:
    """A difference at one look, with an interval and a p-value that may be looked at every day.

    Attributes:
      low, high: The ends of the interval.
      p: The p-value of this look; the smallest of all looks so far is a valid p-value too.
    """

    low: float
    high: float
    p: float


def tightest_at(units: float, alpha: float) -> float:
    """The mixture's variance rho² for which the sequence is tightest at a number of units.

    Args:
      units: Number of units, in all groups together.
      alpha: Probability that the sequence ever misses the true value.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
      asymptotic confidence sequences" (Annals of Statistics 2024): their approximation of the best
      rho for a sample size.

    Example:
      >>> round(tightest_at(1000, 0.05), 6)
      0.007936
    """
    two_logs = -2 * math.log(alpha)
    return (two_logs + math.log(two_logs + 1)) / units


def normal_factor(units: float, alpha: float, rho2: float) -> float:
    """By how many standard errors the sequence reaches to each side; 1.96 without looking early.

    Args:
      units: Number of units so far, t.
      alpha: Probability that the sequence ever misses the true value.
      rho2: The mixture's variance, see `tightest_at`.

    Source: As of `tightest_at`: the asymptotic confidence sequence by a Gaussian mixture.

    Example:
      >>> round(normal_factor(1000, 0.05, tightest_at(1000, 0.05)), 3)
      3.035
    """
    scaled = units * rho2
    return math.sqrt(2 * (scaled + 1) / scaled * math.log(math.sqrt(scaled + 1) / alpha))


def always_valid(
    difference: float, error: float, units: float, *, planned: float, alpha: float
) -> Always:
    """Returns the confidence sequence of a difference of means at one look.

    It is asymptotic, as the interval by the normal distribution is, and needs a first look with
    enough units for that. The p-value is the smallest alpha at which the interval leaves out 0.

    Args:
      difference: The difference so far.
      error: Its standard error, above 0.
      units: Number of units so far, in both groups together.
      planned: Number of units at which the sequence is tightest, chosen before there are data.
      alpha: Probability that the sequence ever misses the true difference.

    Source: As of `normal_factor`, for the average treatment effect in a randomised experiment.

    Example:
      >>> look = always_valid(1.0, 0.25, 1000, planned=1000, alpha=0.05)
      >>> round(look.low, 3), round(look.high, 3), round(look.p, 4)
      (0.241, 1.759, 0.0025)
    """
    rho2 = tightest_at(planned, alpha)
    reach = normal_factor(units, alpha, rho2) * error
    scaled = units * rho2
    p = math.sqrt(scaled + 1) * np.exp(-0.5 * (difference / error) ** 2 * scaled / (scaled + 1))
    return Always(difference - reach, difference + reach, min(1.0, float(p)))
