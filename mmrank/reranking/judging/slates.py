"""Weights of the pseudo-inverse estimator for logs whose positions depend on each other."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

import numpy as np

from mmrank.data.tables import DataError
from mmrank.reranking.judging.support import Record, exploration_of, page_keys
from mmrank.reranking.moves import moved
from mmrank.reranking.page import MOST_TRIED, all_orders

__all__ = ["second_moment", "slate_weights"]

_SMALLEST = 1e-10  # eigenvalues below this share of the largest count as 0
_WIDEST = 40  # positions; a matrix of k² rows is decomposed


def second_moment(record: Record | None, size: int) -> np.ndarray:
    """Returns E[1_s 1_sᵀ] over the orders s that an exploration shows, [k², k²].

    1_s is 1 at position · k + candidate for each candidate at its position. Candidates are numbered
    by the base order, since all that an exploration does is relative to it.

    Args:
      record: As for `exploration_of`; None without exploration.
      size: Number of positions, k.

    Raises:
      DataError: The exploration shows more orders than can be enumerated.

    Example:
      >>> second_moment({"kind": "epsilon", "epsilon": 1.0, "open": [True] * 2}, 2).tolist()
      ... # doctest: +NORMALIZE_WHITESPACE
      [[0.5, 0.0, 0.0, 0.5], [0.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.5, 0.0], [0.5, 0.0, 0.0, 0.5]]
    """
    base = np.arange(size)
    if record is None:
        return _moment(base[np.newaxis], np.ones(1))
    made, opened = exploration_of(record)
    if record["kind"] == "epsilon":
        share = record["epsilon"]
        return (1 - share) * _moment(base[np.newaxis], np.ones(1)) + share * _uniform(size)
    if record["kind"] == "pair_swap":
        orders = np.stack([base, *(moved(base, a) for a in range(1, size) if opened[a])])
    elif size <= MOST_TRIED:
        orders = all_orders(size)
    else:
        raise DataError(
            f"pseudo_inverse: the orders that {record['kind']} shows of {size} candidates are too "
            f"many to enumerate; at most {MOST_TRIED} can be judged, or leave this estimator out"
        )
    return _moment(orders, np.array([made.cumulative(base, opened, o)[-1] for o in orders]))


def slate_weights(
    explorations: Sequence[Record | None],
    base: np.ndarray,
    shown: np.ndarray,
    judged: np.ndarray,
    length: np.ndarray,
) -> np.ndarray:
    """Returns qᵀ Γ⁺ 1_s of each page, [n]; NaN where it has no unbiased weight.

    Γ is `second_moment` of the page's exploration, s the order shown and q the indicator of the
    order that the judged policy shows. A weight exists if q is in the span of the indicators of all
    that may be shown. With pair swaps, several swaps that do not overlap are, for instance.

    Source: Swaminathan et al., "Off-policy evaluation for slate recommendation" (NIPS 2017), the
      pseudo-inverse estimator.

    Args:
      explorations: As for `exploration_of`, None without, for each page.
      base: The orders without exploration, [n, k] int.
      shown: The orders shown, [n, k] int.
      judged: The orders of the judged policy, [n, k] int.
      length: Number of candidates of each page, [n] int.

    Raises:
      DataError: Pages are too long.

    Example:
      >>> import numpy as np
      >>> as_ranked, swapped = np.array([[0, 1]]), np.array([[1, 0]])
      >>> swap = {"kind": "pair_swap", "epsilon": 0.2, "open": [True, True]}
      >>> slate_weights([swap], as_ranked, swapped, swapped, np.array([2])).round(6).tolist()
      [5.0]
    """
    if length.max() > _WIDEST:
        raise DataError(
            f"pseudo_inverse: pages of {length.max()} candidates, but at most {_WIDEST} can be "
            "judged; leave this estimator out"
        )
    keys = page_keys(explorations, length)
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    weights = np.empty(len(keys))
    for number, page in enumerate(first.tolist()):
        rows = np.flatnonzero(group == number)
        k = int(length[page])
        inverse, projection = _inverse(keys[page])
        index = np.argsort(base[rows, :k], axis=-1)
        s, q = (np.take_along_axis(index, o[rows, :k], -1) for o in (shown, judged))
        spanned = np.isclose(_between(projection, q, q), k, rtol=1e-6)
        weights[rows] = np.where(spanned, _between(inverse, q, s), np.nan)
    return weights


@functools.lru_cache(maxsize=1024)
def _inverse(key: str) -> tuple[np.ndarray, np.ndarray]:
    """Γ⁺ and the projection on the span of Γ, for the length and exploration in a text."""
    size, record = json.loads(key)
    moment = second_moment(record, size)
    inverse = np.linalg.pinv(moment, rcond=_SMALLEST, hermitian=True)
    return inverse, inverse @ moment


def _between(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1_leftᵀ · matrix · 1_right for orders left and right, [n]."""
    k = left.shape[-1]
    rows, columns = (np.arange(k) * k + order for order in (left, right))
    return np.asarray(matrix[rows[:, :, np.newaxis], columns[:, np.newaxis]].sum((-2, -1)))


def _moment(orders: np.ndarray, probability: np.ndarray) -> np.ndarray:
    k = orders.shape[-1]
    ones = np.zeros((len(orders), k * k))
    np.put_along_axis(ones, np.arange(k) * k + orders, 1.0, axis=-1)
    return np.asarray((ones * probability[:, np.newaxis]).T @ ones)


def _uniform(size: int) -> np.ndarray:
    """The second moment of uniformly random orders.

    A candidate is at a position with probability 1 / k, and two candidates are at two positions
    with probability 1 / (k (k − 1)).
    """
    same = np.eye(size)
    both = np.kron(same, same) / size
    if size == 1:
        return both
    return np.asarray(both + np.kron(1 - same, 1 - same) / (size * (size - 1)))
