"""NDCG of single lists, and whether one ranker is better than another beyond the chance of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOP = 10


def ndcg_by_list(scores: np.ndarray, gains: np.ndarray, lists: Sequence[np.ndarray]) -> np.ndarray:
    """NDCG@10 of each list, [lists]; equal scores in the order of the rows.

    Args:
      scores: [rows].
      gains: [rows], 0 or above.
      lists: Row numbers of each list, some of them of a gain above 0.
    """
    discount = 1.0 / np.log2(np.arange(2, TOP + 2))
    found = np.zeros(len(lists))
    for i, rows in enumerate(lists):
        gain = gains[rows]
        order = np.argsort(-scores[rows], kind="stable")[:TOP]
        ideal = np.sort(gain)[::-1][:TOP]
        found[i] = gain[order] @ discount[: len(order)] / (ideal @ discount[: len(ideal)])
    return found


def lists_with_a_gain(offsets: np.ndarray, gains: np.ndarray) -> list[np.ndarray]:
    """Row numbers of every list whose candidates are not all worth the same.

    Args:
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      gains: [rows], 0 or above.
    """
    return [
        np.arange(a, b)
        for a, b in zip(offsets[:-1], offsets[1:], strict=True)
        if b - a > 1 and gains[a:b].max() > gains[a:b].min()
    ]


def clearly_better(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether figures of the same lists are higher by more than a standard error of the difference.

    Source: Breiman et al. 1984, "Classification and regression trees", section 3.4.3, the rule of
    one standard error: the simpler of two models that are as good.
    """
    difference = one - other
    if len(difference) < 2:
        return False
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return float(difference.mean()) > error
