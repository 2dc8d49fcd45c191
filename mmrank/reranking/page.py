"""A result page: what a user may do with each candidate, and orders of its candidates."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np

__all__ = ["MOST_TRIED", "Page", "all_orders", "best_order"]

MOST_TRIED = 8  # candidates; 8! = 40,320 orders


@dataclasses.dataclass(frozen=True)
class Page:
    """The candidates of one page, or of several pages of the same length, in the order shown.

    Attributes:
      score: The ranker's scores, [..., k].
      attraction: Probability that an examined candidate is clicked, on its own merit, [..., k].
      satisfaction: Probability that a click on it satisfies the user, [..., k].
      purchase: Probability that a clicked candidate is bought, on its own merit, [..., k].
      dwell: Expected seconds on a clicked candidate, [..., k].
      price: Prices, above 0, [..., k].
      vector: Unit vectors whose cosine says how alike two candidates are, [..., k, d].
      group: A group of each candidate, such as its brand, [..., k]; None if no guard needs it.
      item: Ids of the items, [..., k]; None if no rule names one.
      truth: The same candidates as users know them, where the other attributes are only what a
        ranker predicts; None if they are the truth.

    Example:
      >>> import numpy as np
      >>> half = np.array([0.5, 0.5])
      >>> page = Page(half, half, half, half, half, np.array([2.0, 9.0]), np.eye(2))
      >>> page.take(np.array([1, 0])).price.tolist()
      [9.0, 2.0]
    """

    score: np.ndarray
    attraction: np.ndarray
    satisfaction: np.ndarray
    purchase: np.ndarray
    dwell: np.ndarray
    price: np.ndarray
    vector: np.ndarray
    group: np.ndarray | None = None
    item: np.ndarray | None = None
    truth: Page | None = None

    def __post_init__(self) -> None:
        shape = self.score.shape
        for name, value in self.arrays().items():
            if value.shape[: len(shape)] != shape:
                raise ValueError(f"{name}: shape {value.shape}, but scores have {shape}")
        if self.truth is not None and self.truth.score.shape != shape:
            raise ValueError(f"truth: shape {self.truth.score.shape}, but scores have {shape}")
        if self.vector.ndim != len(shape) + 1:
            raise ValueError(f"vector: {self.vector.ndim} dimensions, but {len(shape) + 1} needed")
        if not (self.price > 0).all():
            raise ValueError("price: must be above 0")

    @property
    def size(self) -> int:
        """The number of candidates, k."""
        return int(self.score.shape[-1])

    @property
    def real(self) -> Page:
        """The page as users know it: its truth, or the page itself without one."""
        return self if self.truth is None else self.truth

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays that the page has, by name."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: v for name, v in values.items() if isinstance(v, np.ndarray)}

    def take(self, order: np.ndarray) -> Page:
        """Returns the page in other orders.

        Args:
          order: Which candidate comes at each position, [k] or [orders, k] int. Several orders of
            one page give several pages.

        Raises:
          ValueError: This is not one page.
        """
        if self.score.ndim != 1:
            raise ValueError("only one page can be taken in other orders")
        taken: dict[str, Any] = {name: value[order] for name, value in self.arrays().items()}
        if self.truth is not None:
            taken["truth"] = self.truth.take(order)
        return dataclasses.replace(self, **taken)

    def above(self) -> np.ndarray:
        """Sum of the positive cosines of each candidate with those above it, [..., k]."""
        cosine = np.einsum("...id,...jd->...ij", self.vector, self.vector)
        return np.tril(np.maximum(cosine, 0.0), -1).sum(-1)


@functools.cache
def all_orders(size: int) -> np.ndarray:
    """All orders of a page, [size!, size] int, read-only; the first is that shown.

    Args:
      size: Number of candidates, 1 to `MOST_TRIED`.

    Raises:
      ValueError: There are too many candidates to try all orders.

    Example:
      >>> all_orders(2).tolist()
      [[0, 1], [1, 0]]
    """
    if not 1 <= size <= MOST_TRIED:
        raise ValueError(f"{size} candidates: all orders can be tried for 1 to {MOST_TRIED}")
    orders = np.array(list(itertools.permutations(range(size))))
    orders.setflags(write=False)
    return orders


def best_order(rewards: np.ndarray) -> np.ndarray:
    """The order with the highest reward, [k] int; the first of several in that of `all_orders`.

    Args:
      rewards: The expected reward of each order of `all_orders`, [k!].

    Example:
      >>> import numpy as np
      >>> best_order(np.array([0.1, 0.2])).tolist()
      [1, 0]
    """
    size = next(n for n in range(1, MOST_TRIED + 1) if math.factorial(n) == len(rewards))
    return np.array(all_orders(size)[int(np.argmax(rewards))])
