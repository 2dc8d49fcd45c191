"""The effect of each modality on the order of a list: the scores with and without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

# A difference of two scores below it is due to rounding.
SMALLEST = 1e-5


@dataclasses.dataclass(frozen=True)
class Shares:
    """The effects of K modalities on the scores of L candidates.

    Attributes:
      names: Names of the modalities.
      effects: How much each modality raises a candidate relative to the mean of its list, [K, L].
      shares: Each modality's share of all modalities' absolute effects on a candidate, [K, L];
        zeros for a candidate on which no modality has an effect.
      overall: Each modality's share of all absolute effects on the list, [K].
    """

    names: tuple[str, ...]
    effects: np.ndarray
    shares: np.ndarray
    overall: np.ndarray


def shares_of(names: Sequence[str], scores: np.ndarray, without: np.ndarray) -> Shares:
    """Returns the shares of modalities, from the scores with all of them and without each.

    Only differences within a list mean anything, so scores are centred on their list's mean: the
    effect of k on i is (s_i − mean s) − (s_i^k − mean s^k), and its share is |effect| divided by
    the sum of |effect| over the modalities.

    Args:
      names: Names of the modalities [K].
      scores: Scores of the candidates [L].
      without: Scores with modality k absent everywhere, [K, L].
    """
    centred = scores - scores.mean()
    effects = centred - (without - without.mean(1, keepdims=True))
    effects = np.where(np.abs(effects) < SMALLEST, 0.0, effects)
    sizes = np.abs(effects)
    total, whole = sizes.sum(0), sizes.sum()
    shares = np.divide(sizes, total, out=np.zeros_like(sizes), where=total > 0)
    overall = sizes.sum(1) / whole if whole > 0 else np.zeros(len(names))
    return Shares(tuple(names), effects, shares, overall)
