"""How far a log covers what a policy would show, and why it cannot judge one."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.reranking.judging.pages import LoggedPages

__all__ = ["Overlap", "overlap_of"]

LEAST_PAGES = 50  # worth that many pages of its own, a log says something of a policy
MOST_OF_ONE = 0.2  # share of the whole weight that one page may have
LEAST_COVERED = 0.99  # share of pages that the log could have shown as the policy does
MORE = "log with more exploration"


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How far a log covers what a policy would show.

    Attributes:
      pages: Number of logged pages.
      covered: Share of pages that the logging policy could have shown as the policy would; NaN if
        unknown.
      effective: How many pages of the judged policy the weighted log is worth: (Σ w)² / Σ w².
      largest: Share of all weight that the page with the highest weight has.
      mean_weight: 1 on average, where the log covers all that the policy would show.
      refusal: Why the log cannot say what the policy would earn; empty if it can.
    """

    pages: int
    covered: float
    effective: float
    largest: float
    mean_weight: float
    refusal: str


def overlap_of(pages: LoggedPages, estimator: str = "inverse_propensity") -> Overlap:
    """Returns how far a log covers what the judged policy would show.

    Args:
      pages: The log.
      estimator: The estimator that is to judge by it. The pseudo-inverse has weights of its own,
        and covers pages that are sums of what may be shown. All others are judged by the weights of
        whole pages, also the direct method, since nothing else could say that its model is wrong.

    Source: Kong, "A note on importance sampling using standardized weights" (1992), for the
      effective sample size.

    Example:
      >>> import numpy as np
      >>> shown = np.full([100, 1], 0.5)
      >>> overlap_of(LoggedPages(shown, shown, shown)).effective
      100.0
      >>> overlap_of(LoggedPages(shown, shown, 0 * shown)).refusal
      'the policy would show none of the logged pages; log with more exploration'
    """
    if estimator == "pseudo_inverse":
        weights = pages.slate_weights()
        covered = ~np.isnan(weights)
        weights = np.where(covered, weights, 0.0)
        cannot = "are not a sum of pages that the log may show"
    else:
        weights, covered = pages.weights(), pages.covered
        cannot = "could not be shown by the policy that logged them"
    share = float("nan") if covered is None else float(covered.mean())
    count, total = len(weights), float(weights.sum())
    square = float((weights**2).sum())
    effective = total**2 / square if square > 0 else 0.0
    largest = float(np.abs(weights).max()) / total if total > 0 else 0.0
    mean = total / count
    # The mean weight has expectation 1; a mean far below it says that what the policy would show
    # has hardly been logged.
    error = float(weights.std()) / np.sqrt(count)
    refusal = ""
    if share < LEAST_COVERED:
        refusal = f"{1 - share:.1%} of the policy's pages {cannot}; {MORE}"
    elif total <= 0:
        refusal = f"the policy would show none of the logged pages; {MORE}"
    elif effective < LEAST_PAGES:
        refusal = (
            f"the log is worth {effective:.0f} pages of the policy, and {LEAST_PAGES} are needed; "
            "log more pages, or with more exploration"
        )
    elif largest > MOST_OF_ONE:
        refusal = f"one page has {largest:.0%} of all weight; {MORE}"
    elif mean + 4 * error < 1:
        refusal = (
            f"the weights have the mean {mean:.2f} instead of 1: the log lacks pages that the "
            f"policy would show; {MORE}"
        )
    return Overlap(count, share, effective, largest, mean, refusal)
