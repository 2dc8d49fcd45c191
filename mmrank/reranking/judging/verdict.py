"""What a log says about another policy: estimates with intervals, or why it cannot say."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.evaluation.significance import resampled_means
from mmrank.reranking.judging.estimators import ESTIMATORS
from mmrank.reranking.judging.pages import LoggedPages

__all__ = ["Estimate", "Overlap", "estimate", "overlap_of"]

LEAST_PAGES = 50  # worth that many pages of its own, a log says something of a policy
MOST_OF_ONE = 0.2  # share of the whole weight that one page may have


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate of a policy's mean reward for a page.

    Attributes:
      mean: The estimate.
      low, high: Its bootstrap interval over pages.
    """

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How far a log covers what a policy would show.

    Attributes:
      pages: Number of logged pages.
      effective: How many pages of the judged policy the weighted log is worth: (Σ w)² / Σ w².
      largest: Share of all weight that the page with the highest weight has.
      mean_weight: 1 on average, where the log covers all that the policy would show.
      refusal: Why the log cannot say what the policy would earn; empty if it can.
    """

    pages: int
    effective: float
    largest: float
    mean_weight: float
    refusal: str


def overlap_of(pages: LoggedPages) -> Overlap:
    """Returns how far a log covers what the judged policy would show.

    Source: Kong, "A note on importance sampling using standardized weights" (1992), for the
      effective sample size.

    Example:
      >>> import numpy as np
      >>> shown = np.full([100, 1], 0.5)
      >>> overlap_of(LoggedPages(shown, shown, shown)).effective
      100.0
      >>> overlap_of(LoggedPages(shown, shown, 0 * shown)).refusal
      'the policy would show none of the logged pages; log some with more exploration'
    """
    weights = pages.weights()
    count, total = len(weights), float(weights.sum())
    if total == 0:
        nothing = "the policy would show none of the logged pages; log some with more exploration"
        return Overlap(count, 0.0, 0.0, 0.0, nothing)
    effective = total**2 / float((weights**2).sum())
    largest, mean = float(weights.max()) / total, total / count
    # The mean weight has expectation 1; a mean far below it says that what the policy would show
    # has hardly been logged.
    error = float(weights.std()) / np.sqrt(count)
    refusal = ""
    if effective < LEAST_PAGES:
        refusal = (
            f"the log is worth {effective:.0f} pages of the policy, and {LEAST_PAGES} are needed; "
            "log more pages, or with more exploration"
        )
    elif largest > MOST_OF_ONE:
        refusal = f"one page has {largest:.0%} of all weight; log with more exploration"
    elif mean + 4 * error < 1:
        refusal = (
            f"the weights have the mean {mean:.2f} instead of 1: the log lacks pages that the "
            "policy would show; log with more exploration"
        )
    return Overlap(count, effective, largest, mean, refusal)


def estimate(
    pages: LoggedPages,
    name: str,
    options: dict[str, float] | None = None,
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
    terms = ESTIMATORS.make(name, options)(pages)
    # A self-normalised estimate is normalised in each resample again.
    weights = pages.weights() if name == "self_normalised" else np.ones(len(terms))
    columns = np.stack([terms, weights / weights.mean()], -1)
    means = resampled_means(columns, resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(means[:, 1] > 0, means[:, 0] / means[:, 1], np.nan)
    low, high = np.nanpercentile(ratios, (50 * (1 - level), 50 * (1 + level)))
    return Estimate(float(terms.mean()), float(low), float(high))
