"""What a log says about another policy: estimates with intervals, or why it cannot say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.evaluation.significance import resampled_means
from mmrank.reranking.judging.estimators import ESTIMATORS
from mmrank.reranking.judging.overlap import overlap_of
from mmrank.reranking.judging.pages import LoggedPages

__all__ = ["Estimate", "Verdict", "estimate", "verdicts"]

_WITHOUT_INTERVAL = "direct"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate of a policy's mean reward for a page.

    Attributes:
      mean: The estimate.
      low, high: Its bootstrap interval over pages; NaN for the direct method, because resampled
        pages do not say how wrong its model is.
    """

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one estimator says about a policy.

    Attributes:
      estimator: Its name.
      refusal: Why it says nothing; empty if it does.
      reward: The policy's reward of a page; None after a refusal.
      difference: By how much that is above what it is compared with; None after a refusal.
    """

    estimator: str
    refusal: str
    reward: Estimate | None = None
    difference: Estimate | None = None


def estimate(
    pages: LoggedPages,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Returns an estimate with its percentile interval over resampled pages.

    Args:
      pages: The log.
      name: Name of an estimator.
      options: Its options.
      level: Coverage of the interval.
      resamples: Number of bootstrap resamples.
      seed: Seed of the resamples.

    Raises:
      ConfigError: The estimator or an option is unknown.
      ValueError: The estimator needs predictions of a model and there are none.

    Example:
      >>> import numpy as np
      >>> one = np.ones([4, 1])
      >>> estimate(LoggedPages(one, one, one), "self_normalised")
      Estimate(mean=1.0, low=1.0, high=1.0)
    """
    columns = _columns(pages, name, options)
    means = resampled_means(columns, resamples=resamples, seed=seed)
    return _interval(name, _ratio(columns.mean(0)), _ratio(means), level)


def verdicts(
    pages: LoggedPages,
    names: Sequence[str],
    against: LoggedPages | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Verdict]:
    """Returns what each estimator says about a policy, and about its difference from another.

    Both policies are estimated on the same resampled pages.

    Args:
      pages: The log, with the policy's probabilities.
      names: Names of estimators.
      against: The same log, with the probabilities of the other policy; None to compare with the
        logged reward.
      options: Options of estimators, by name.
      level, resamples, seed: As for `estimate`.

    Raises:
      ConfigError: An estimator or an option is unknown.
      ValueError: An estimator needs predictions of a model and there are none.

    Example:
      >>> import numpy as np
      >>> one = np.ones([100, 1])
      >>> [said] = verdicts(LoggedPages(one, one, one), ["inverse_propensity"])
      >>> said.reward.mean, said.difference.mean
      (1.0, 0.0)
    """
    made, logged = [], np.stack([pages.rewards.sum(-1), np.ones(len(pages.rewards))], -1)
    refusals = {name: _refusal(name, pages, against) for name in names}
    said = [name for name in names if not refusals[name]]
    for name in said:
        of_one = (options or {}).get(name)
        made.append(_columns(pages, name, of_one))
        made.append(logged if against is None else _columns(against, name, of_one))
    found: dict[str, tuple[Estimate, Estimate]] = {}
    if said:
        columns = np.concatenate(made, -1)
        means = resampled_means(columns, resamples=resamples, seed=seed)
        for name, at in zip(said, range(0, columns.shape[1], 4), strict=True):
            (ours, theirs), (mean, other) = (
                (_ratio(values[..., at : at + 2]), _ratio(values[..., at + 2 : at + 4]))
                for values in (means, columns.mean(0))
            )
            difference = _interval(name, mean - other, ours - theirs, level)
            found[name] = (_interval(name, mean, ours, level), difference)
    return [Verdict(name, refusals[name], *found.get(name, ())) for name in names]


def _refusal(name: str, pages: LoggedPages, against: LoggedPages | None) -> str:
    refusal = overlap_of(pages, name).refusal
    if refusal or against is None:
        return refusal
    other = overlap_of(against, name).refusal
    return other and f"the policy that it is compared with: {other}"


def _columns(pages: LoggedPages, name: str, options: Mapping[str, Any] | None) -> np.ndarray:
    """Terms and weights, [pages, 2]: the estimate is the ratio of their means."""
    terms = ESTIMATORS.make(name, options)(pages)
    if name != "self_normalised":
        return np.stack([terms, np.ones(len(terms))], -1)
    # A self-normalised estimate is normalised in each resample again.
    weights = pages.weights()
    return np.stack([terms, weights / weights.mean()], -1)


def _ratio(means: np.ndarray) -> np.ndarray:
    above, below = means[..., 0], means[..., 1]
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _interval(name: str, mean: np.ndarray, resampled: np.ndarray, level: float) -> Estimate:
    if name == _WITHOUT_INTERVAL:
        return Estimate(float(mean), float("nan"), float("nan"))
    low, high = np.nanpercentile(resampled, (50 * (1 - level), 50 * (1 + level)))
    return Estimate(float(mean), float(low), float(high))
