"""What each modality does to an order: the scores once more without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

# Below it, a difference of two scores is rounding.
SMALLEST = 1e-5


@dataclasses.dataclass(frozen=True)
class Shares:
    """What K modalities do to the scores of L candidates.

    Attributes:
      names: Of the modalities.
      effects: By how much each raises a candidate against the mean of its list, [K, L].
      shares: Of each in what all of them do to a candidate, [K, L]; zeros where none does anything.
      overall: Of each in what all of them do to the list, [K].
    """

    names: tuple[str, ...]
    effects: np.ndarray
    shares: np.ndarray
    overall: np.ndarray


def shares_of(names: Sequence[str], scores: np.ndarray, without: np.ndarray) -> Shares:
    """The shares of modalities, from the scores with all of them and without each.

    Only differences within a list mean anything, so each list is taken from its mean: the effect of
    k on i is (s_i − mean s) − (s_i^k − mean s^k), and its share |effect| over the sum of these.

    Args:
      names: Of the modalities [K].
      scores: Of the candidates [L].
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
