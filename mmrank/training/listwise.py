"""NDCG of single lists, and whether one ranker is better than another by more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOP = 10


def ndcg_by_list(scores: np.ndarray, gains: np.ndarray, lists: Sequence[np.ndarray]) -> np.ndarray:
    """Returns NDCG@10 of each list, [lists]; ties keep the order of the rows.

    Args:
      scores: [rows].
      gains: [rows], 0 or above.
      lists: Row numbers of each list. Every list has at least one row with a gain above 0.

    Example:
      >>> import numpy as np
      >>> ndcg_by_list(np.array([2.0, 1.0]), np.array([0.0, 3.0]), [np.arange(2)]).round(4).tolist()
      [0.6309]
    """
    discount = 1.0 / np.log2(np.arange(2, TOP + 2))
    found = np.zeros(len(lists))
    for i, rows in enumerate(lists):
        gain = gains[rows]
        order = np.argsort(-scores[rows], kind="stable")[:TOP]
        ideal = np.sort(gain)[::-1][:TOP]
        found[i] = gain[order] @ discount[: len(order)] / (ideal @ discount[: len(ideal)])
    return found


def lists_with_a_gain(
    offsets: np.ndarray, gains: np.ndarray, shuffle: int | None = None
) -> list[np.ndarray]:
    """Returns the row numbers of every list whose candidates do not all have the same gain.

    Args:
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      gains: [rows], 0 or above.
      shuffle: If given, the seed of a random order of the rows of each list. Ties keep the order of
        the rows, and rows of a log of clicks are in the order shown, where clicks come first.

    Example:
      >>> import numpy as np
      >>> lists = lists_with_a_gain(np.array([0, 2, 4]), np.array([1.0, 0.0, 2.0, 2.0]))
      >>> [rows.tolist() for rows in lists]  # the candidates of the second list are equally good
      [[0, 1]]
    """
    rng = None if shuffle is None else np.random.default_rng(shuffle)
    return [
        np.arange(a, b) if rng is None else a + rng.permutation(b - a)
        for a, b in zip(offsets[:-1], offsets[1:], strict=True)
        if b - a > 1 and gains[a:b].max() > gains[a:b].min()
    ]


def clearly_better(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether the first figures are higher by more than a standard error of the difference.

    Args:
      one, other: Figures of the same lists, [lists].

    Source: Breiman et al. 1984, "Classification and regression trees", section 3.4.3, the rule of
    one standard error: of two models that are about equally good, take the simpler one.

    Example:
      >>> import numpy as np
      >>> one, other = np.array([0.9, 0.8, 0.9, 0.8]), np.array([0.5, 0.6, 0.5, 0.6])
      >>> clearly_better(one, other), clearly_better(one, one)
      (True, False)
    """
    difference = one - other
    if len(difference) < 2:
        return False
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return float(difference.mean()) > error
