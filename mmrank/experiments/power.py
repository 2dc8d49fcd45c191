"""How many users an experiment needs, and the smallest lift that a number of users can show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from scipy import optimize, stats

from mmrank.config import ConfigError
from mmrank.experiments.confidence_sequence import normal_factor, tightest_at

__all__ = ["Plan", "means_power", "plan_means", "plan_proportions", "proportions_power"]

_MOST = 1e12  # units of a group


@dataclasses.dataclass(frozen=True)
class Plan:
    """The size of an experiment.

    Attributes:
      per_group: Units (such as users) of each group.
      difference: The difference from the control's mean that the experiment finds.
      lift: The same, divided by the control's mean.
      alpha: Level of each comparison with the control: that asked for, divided by their number.
      sequential: Units of each group after which a sequence of daily looks has the same power, at
        the latest.
    """

    per_group: int
    difference: float
    lift: float
    alpha: float
    sequential: int


def means_power(units: float, difference: float, sd: float, alpha: float) -> float:
    """Power of the two-sided t-test between two groups.

    Args:
      units: Units of each group, above 1.
      difference: True difference of the means.
      sd: Standard deviation within both groups.
      alpha: Level of the test.

    Source: Cohen, "Statistical power analysis for the behavioral sciences" (1988), section 2.

    Example:
      >>> round(means_power(20, 1.0, 1.0, 0.05), 4)  # R: power.t.test(n = 20, delta = 1, sd = 1)
      0.869
    """
    freedom = 2 * (units - 1)
    shift = abs(difference) / sd * math.sqrt(units / 2)
    limit = stats.t.isf(alpha / 2, freedom)
    # The square of a noncentral t, whose own distribution SciPy loses (NaN) at a large shift.
    return float(stats.ncf.sf(limit**2, 1, freedom, shift**2))


def proportions_power(units: float, first: float, second: float, alpha: float) -> float:
    """Power of the two-sided test between two proportions, by the normal distribution.

    Args:
      units: Units of each group.
      first, second: The true proportions, above 0 and below 1.
      alpha: Level of the test.

    Source: Fleiss, Levin and Paik, "Statistical methods for rates and proportions" (2003), ch. 4.

    Example:
      >>> round(proportions_power(50, 0.5, 0.75, 0.05), 4)  # R: power.prop.test(50, .5, .75)
      0.7402
    """
    mean = (first + second) / 2
    spread = math.sqrt(first * (1 - first) + second * (1 - second))
    limit = stats.norm.isf(alpha / 2) * math.sqrt(2 * mean * (1 - mean))
    return float(stats.norm.cdf((math.sqrt(units) * abs(first - second) - limit) / spread))


def plan_means(
    mean: float,
    sd: float,
    *,
    lift: float | None = None,
    units: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    groups: int = 2,
) -> Plan:
    """Returns the size of an experiment on a mean, such as the clicks of a user.

    Args:
      mean, sd: The mean of the control and the standard deviation within groups.
      lift: Relative difference to be found, such as 0.02; negative for a fall.
      units: Units of each group, for which the smallest lift is found; `lift` or `units` is given.
      power: Probability of finding the difference if it is there.
      alpha: Probability of finding one that is not there, in any comparison with the control.
      groups: Number of groups, control included. Comparisons share `alpha` by Bonferroni.

    Raises:
      ConfigError: A number is out of its range.

    Example:
      >>> plan_means(0.5, 1.0, lift=2.0).per_group  # R: power.t.test(delta = 1, power = .8): 16.7
      17
    """
    if not (mean != 0 and math.isfinite(mean)):
        raise ConfigError(f"--mean {mean}: expected a number other than 0, since a lift is a share")
    if not (sd > 0 and math.isfinite(sd)):
        raise ConfigError(f"--sd {sd}: expected a number above 0")

    def of(number: float, lifted: float, level: float) -> float:
        return means_power(number, lifted * mean, sd, level)

    return _plan(of, mean, lift, units, power, alpha, groups, most_lift=1e6)


def plan_proportions(
    proportion: float,
    *,
    lift: float | None = None,
    units: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    groups: int = 2,
) -> Plan:
    """Returns the size of an experiment on a proportion, such as the share of users who buy.

    Args:
      proportion: The proportion of the control, above 0 and below 1.
      lift, units, power, alpha, groups: As of `plan_means`.

    Raises:
      ConfigError: A number is out of its range.

    Example:
      >>> plan_proportions(0.5, lift=0.5, power=0.9).per_group  # R: power.prop.test: 76.7
      77
    """
    if not 0 < proportion < 1:
        raise ConfigError(f"--proportion {proportion}: expected a share above 0 and below 1")
    if lift is not None and not 0 < proportion * (1 + lift) < 1:
        raise ConfigError(
            f"--lift {lift}: would make the proportion {proportion * (1 + lift):g}, which is not "
            "above 0 and below 1"
        )

    def of(number: float, lifted: float, level: float) -> float:
        return proportions_power(number, proportion, proportion * (1 + lifted), level)

    most = (1 - 1e-9) / proportion - 1
    return _plan(of, proportion, lift, units, power, alpha, groups, most_lift=most)


def _plan(
    power_of: Callable[[float, float, float], float],
    mean: float,
    lift: float | None,
    units: int | None,
    power: float,
    alpha: float,
    groups: int,
    most_lift: float,
) -> Plan:
    """The plan for a function that gives the power by units of a group, lift and level."""
    for name, share in (("--power", power), ("--alpha", alpha)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} {share}: expected a probability above 0 and below 1")
    if power <= alpha:
        raise ConfigError(f"--power {power}: must be above --alpha {alpha}")
    if groups < 2:
        raise ConfigError(f"--groups {groups}: must be at least 2, control included")
    level = alpha / (groups - 1)
    if units is not None:
        if units < 2:
            raise ConfigError(f"--units {units}: must be at least 2")
        if power_of(units, most_lift, level) < power:
            raise ConfigError(f"--units {units}: too few to find any lift with --power {power}")
        lift = float(optimize.brentq(lambda x: power_of(units, x, level) - power, 0.0, most_lift))
    elif lift is None or lift == 0 or not math.isfinite(lift):
        raise ConfigError(f"--lift {lift}: expected a share other than 0, such as 0.02")
    else:
        if power_of(_MOST, lift, level) < power:
            raise ConfigError(f"--lift {lift}: too small to be found by any experiment")
        units = _least(lambda number: power_of(number, lift, level) >= power)
    normal, tail, single = stats.norm.isf(level / 2), stats.norm.ppf(power), units

    def found(number: int) -> bool:  # in the last of the looks by day
        factor = normal_factor(number, level, tightest_at(single, level))
        return bool(math.sqrt(number / single) * (normal + tail) >= factor + tail)

    sequential = _least(found)
    return Plan(units, lift * mean, lift, level, sequential)


def _least(enough: Callable[[int], bool]) -> int:
    """The smallest number from 2 that is enough, where all above it are enough too."""
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
