"""Estimates of what another policy would have earned on the logged pages.

An estimator returns one term for each page; its estimate is the mean of the terms. `ESTIMATORS`
lists them by name.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.registry import Entry, Registry
from mmrank.reranking.judging.pages import LoggedPages

__all__ = [
    "ESTIMATORS",
    "cascade_doubly_robust",
    "direct",
    "doubly_robust",
    "inverse_propensity",
    "pseudo_inverse",
    "self_normalised",
    "switch_doubly_robust",
]


def inverse_propensity(pages: LoggedPages) -> np.ndarray:
    """W · r: unbiased wherever the logging policy could show what the judged one shows, [pages].

    Source: Horvitz and Thompson, "A generalization of sampling without replacement from a finite
      universe" (JASA 47, 1952).

    Example:
      >>> import numpy as np
      >>> half = np.full([1, 1], 0.5)
      >>> inverse_propensity(LoggedPages(rewards=half, logged=half, judged=2 * half)).tolist()
      [1.0]
    """
    return np.asarray(pages.weights() * pages.rewards.sum(-1))


def self_normalised(pages: LoggedPages) -> np.ndarray:
    """W · r / mean w: slightly biased, with less variance, and never beyond the rewards, [pages].

    Source: Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning"
      (NIPS 2015).

    Example:
      >>> import numpy as np
      >>> half = np.full([1, 1], 0.5)
      >>> self_normalised(LoggedPages(rewards=half, logged=half, judged=2 * half)).tolist()
      [0.5]
    """
    weights = pages.weights()
    mean = weights.mean()
    terms = weights * pages.rewards.sum(-1)
    return np.asarray(terms / mean if mean > 0 else np.full_like(terms, np.nan))


def direct(pages: LoggedPages) -> np.ndarray:
    """The model's prediction alone, [pages].

    Example:
      >>> import numpy as np
      >>> one = np.ones([1, 1])
      >>> direct(LoggedPages(one, one, one, predicted=one, expected=3 * one)).tolist()
      [3.0]
    """
    return np.asarray(pages.model()[1][:, 0])


def doubly_robust(pages: LoggedPages) -> np.ndarray:
    """Q + w · (r − q of what was shown): right if the model or the propensities are, [pages].

    The page counts as a whole: both predictions are those of its first position.

    Source: Dudik, Langford and Li, "Doubly robust policy evaluation and learning" (ICML
      2011).

    Example:
      >>> import numpy as np
      >>> one = np.ones([1, 1])
      >>> pages = LoggedPages(3 * one, one / 2, one, one, 2 * one)
      >>> doubly_robust(pages).tolist()  # 2 + 2 · (3 − 1)
      [6.0]
    """
    return switch_doubly_robust(pages, np.inf)


@dataclasses.dataclass(frozen=True)
class SwitchOptions:
    """Options of `switch_doubly_robust`.

    Attributes:
      most: Highest weight with which a page corrects the model.
    """

    most: Annotated[float, Range(0, above=True)] = 10.0


def switch_doubly_robust(pages: LoggedPages, most: float = SwitchOptions.most) -> np.ndarray:
    """As `doubly_robust`, but the model alone where the weight is above `most`, [pages].

    Source: Wang, Agarwal and Dudik, "Optimal and adaptive off-policy evaluation in contextual
      bandits" (ICML 2017), its SWITCH estimator.

    Args:
      pages: The pages.
      most: See `SwitchOptions`.

    Example:
      >>> import numpy as np
      >>> one = np.ones([1, 1])
      >>> pages = LoggedPages(3 * one, one / 2, one, one, 2 * one)
      >>> switch_doubly_robust(pages, most=1.0).tolist()
      [2.0]
    """
    predicted, expected = pages.model()
    weights = pages.weights()
    kept = np.where(weights <= most, weights, 0.0)
    return np.asarray(expected[:, 0] + kept * (pages.rewards.sum(-1) - predicted[:, 0]))


def pseudo_inverse(pages: LoggedPages) -> np.ndarray:
    """The pseudo-inverse weight of the page times r, [pages]; see `slate_weights`.

    Its weights do not grow exponentially with the number of positions. It is unbiased if each
    candidate at its position adds a term of its own to the expected reward of a page, whatever is
    at the others. Where the logging policy chose positions independently of each other, the weight
    is 1 + Σ over positions (ratio − 1). A page without a weight counts 0, as for
    `inverse_propensity` a page that could not be logged; `overlap_of` says how many there are.

    Source: Swaminathan et al., "Off-policy evaluation for slate recommendation" (NIPS 2017).

    Example:
      >>> import numpy as np
      >>> one = np.ones([1, 2])
      >>> pseudo_inverse(LoggedPages(one, one / 2, one)).tolist()  # (1 + 1 + 1) · 2
      [6.0]
    """
    return np.asarray(np.nan_to_num(pages.slate_weights()) * pages.rewards.sum(-1))


def cascade_doubly_robust(pages: LoggedPages) -> np.ndarray:
    """Σ over positions: w above · E q + w down to here · (r − q + ...), [pages].

    A position counts with the weight of what is above it, not of the whole page: users read from
    the top, so that what is below does not matter to them. In full, position k adds
    w(1..k) · (r(k) − q(k)) + w(1..k − 1) · q expected at k, where q is the reward from k on.

    Source: Kiyohara et al., "Doubly robust off-policy evaluation for ranking policies under the
      cascade behavior model" (WSDM 2022), Cascade-DR.

    Example:
      >>> import numpy as np
      >>> one, none = np.ones([1, 2]), np.zeros([1, 2])
      >>> pages = LoggedPages(one, one / 2, one, predicted=none, expected=none)
      >>> cascade_doubly_robust(pages).tolist()  # 2 · 1 + 4 · 1
      [6.0]
    """
    predicted, expected = pages.model()
    down_to = np.cumprod(pages.ratios(), -1)
    above = np.concatenate([np.ones_like(down_to[:, :1]), down_to[:, :-1]], -1)
    return np.asarray((down_to * (pages.rewards - predicted) + above * expected).sum(-1))


ESTIMATORS = Registry(
    "estimator",
    {
        "inverse_propensity": Entry.function(inverse_propensity),
        "self_normalised": Entry.function(self_normalised),
        "direct": Entry.function(direct),
        "doubly_robust": Entry.function(doubly_robust),
        "switch_doubly_robust": Entry.function(switch_doubly_robust, SwitchOptions),
        "pseudo_inverse": Entry.function(pseudo_inverse),
        "cascade_doubly_robust": Entry.function(cascade_doubly_robust),
    },
)
