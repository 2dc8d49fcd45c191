"""Logged sessions as arrays: the pages that were shown, how probable they were, what users did."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmrank.reranking.page import Page
from mmrank.reranking.users import Rewards

__all__ = ["Sessions"]


@dataclasses.dataclass(frozen=True)
class Sessions:
    """Shown pages and what users did on them.

    Attributes:
      pages: What the policy saw of each page, in the ranker's order, [n, k], padded.
      length: Number of candidates of each page, [n] int.
      base: The orders that would have been shown without exploration, [n, k] int.
      order: The orders shown, [n, k] int.
      probability: Probability of the order shown, [n].
      conditional: Probability of the candidate at each position given those above it, [n, k].
      clicks, purchases: What was clicked and bought, by the position shown, [n, k] bool.
      dwell: Seconds on each, 0 without a click, by the position shown, [n, k].

    Masking: a page of m candidates uses its first m columns. In the others `base` and `order` hold
      the column's own number, `conditional` is 1, and nothing was clicked.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half = np.full([1, 2], 0.5)
      >>> page = Page(half, half, half, half, half, half, np.ones([1, 2, 1]))
      >>> as_ranked, first = np.array([[0, 1]]), np.array([[True, False]])
      >>> shown = Sessions(
      ...     page, np.array([2]), as_ranked, as_ranked[:, ::-1], np.ones(1), 2 * half,
      ...     clicks=first, dwell=half, purchases=first,
      ... )
      >>> shown.rewards(Rewards(click=1.0, purchase=5.0)).tolist()
      [[6.0, 0.0]]
    """  # fmt: skip

    pages: Page
    length: np.ndarray
    base: np.ndarray
    order: np.ndarray
    probability: np.ndarray
    conditional: np.ndarray
    clicks: np.ndarray
    dwell: np.ndarray
    purchases: np.ndarray

    def __post_init__(self) -> None:
        shape = self.pages.score.shape
        if len(shape) != 2:
            raise ValueError(f"pages: expected [n, k], got {shape}")
        for field in dataclasses.fields(self)[1:]:
            wanted = shape[:1] if field.name in ("length", "probability") else shape
            if getattr(self, field.name).shape != wanted:
                found = getattr(self, field.name).shape
                raise ValueError(f"{field.name}: shape {found}, but {wanted} is needed")

    def __len__(self) -> int:
        return len(self.length)

    def rewards(self, rewards: Rewards) -> np.ndarray:
        """What each position earned, [n, k]."""
        return np.asarray(
            rewards.click * self.clicks
            + rewards.dwell * self.dwell
            + rewards.purchase * self.purchases
        )

    def each(self) -> Iterator[Page]:
        """Yields the pages without padding, in the ranker's order."""
        columns = self.pages.arrays()
        for row, length in enumerate(self.length.tolist()):
            page: dict[str, Any] = {n: column[row, :length] for n, column in columns.items()}
            yield Page(**page)
