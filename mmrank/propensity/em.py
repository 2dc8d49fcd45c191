"""Propensities by expectation maximisation, with one relevance for each query–item pair."""

from __future__ import annotations

import numpy as np

from mmrank.data.tables import DataError
from mmrank.propensity.log import ClickLog, Estimator

MIN_POSITIONS = 4
STEPS, TOLERANCE = 500, 1e-4


class PairEM(Estimator):
    """Estimates examination propensities θ_k together with a relevance γ of every query–item pair.

    P(click) = θ_k γ. The expectation step computes, for a view without a click, the probability
    that it was examined and the probability that the item was relevant. The maximisation step sets
    θ_k and γ to the means of these. Only pairs seen at four positions or more count: a pair that is
    seen once gets γ = 0 or 1, whatever the true value, and many such pairs would raise the
    propensities of all positions below the first.

    Source: Wang et al., "Position bias estimation for unbiased learning to rank in personal search"
      (WSDM 2018), equations 1 to 3.

    Example:
      A pair that was shown ten times at each of four positions. With one pair, the propensities are
      its click rates, relative to that at position 1:

      >>> import numpy as np
      >>> from mmrank.propensity import ClickLog
      >>> log = ClickLog(
      ...     lists=np.arange(40),
      ...     pairs=np.zeros(40, int),
      ...     positions=np.repeat([1, 2, 3, 4], 10),
      ...     clicks=np.repeat([1.0, 0.0] * 4, [8, 2, 4, 6, 4, 6, 4, 6]),
      ...     features=np.zeros([40, 0]),
      ...     categorical=np.zeros(0, bool),
      ... )
      >>> PairEM(log)(np.ones(40)).round(1).tolist()
      [1.0, 0.5, 0.5, 0.5]
    """

    def __init__(self, log: ClickLog):
        depth = log.depth
        cells, cell = np.unique(log.pairs * depth + log.positions - 1, return_inverse=True)
        seen_at = np.bincount(cells // depth)
        self._rows = np.flatnonzero(seen_at[log.pairs] >= MIN_POSITIONS)
        if not len(self._rows):
            raise DataError(
                f"method em: no query–item pair was seen at {MIN_POSITIONS} positions; use a "
                "longer log, or --method harvest, which needs pairs at two"
            )
        used, self._cell = np.unique(cell[self._rows], return_inverse=True)
        self._position, pair = cells[used] % depth, cells[used] // depth
        self._pair = np.unique(pair, return_inverse=True)[1]
        self._depth, self._clicks = depth, log.clicks[self._rows]
        self._start: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        counted = weights[self._rows]
        views = np.bincount(self._cell, weights=counted)
        clicks = np.bincount(self._cell, weights=counted * self._clicks)
        views_at = np.bincount(self._position, weights=views, minlength=self._depth)
        of_pair = np.bincount(self._pair, weights=views)
        # Resamples start from the solution of the whole log.
        theta, gamma = self._start or (np.full(self._depth, 0.5), np.full(len(of_pair), 0.5))
        for _ in range(STEPS):
            looked, relevant = expectation(theta[self._position], gamma[self._pair])
            before = theta
            theta = _means(self._position, clicks + (views - clicks) * looked, views_at)
            gamma = _means(self._pair, clicks + (views - clicks) * relevant, of_pair)
            if np.nanmax(np.abs(theta - before)) < TOLERANCE * np.nanmax(theta):
                break
        self._start = self._start or (theta, gamma)
        return np.where(views_at > 0, theta, np.nan) / theta[0]


def expectation(theta: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(examined) and P(relevant) of views without a click, both [rows].

    Args:
      theta: Propensity of each view's position, [rows].
      gamma: Relevance of each view's pair, [rows].

    Example:
      A view at propensity 1/2 of a pair of relevance 1/2 has no click with a probability of 3/4:

      >>> import numpy as np
      >>> examined, relevant = expectation(np.array([0.5]), np.array([0.5]))
      >>> examined.round(4).tolist(), relevant.round(4).tolist()  # 1/2 · 1/2 divided by 3/4
      ([0.3333], [0.3333])
    """
    unclicked = np.maximum(1.0 - theta * gamma, 1e-12)
    return theta * (1.0 - gamma) / unclicked, gamma * (1.0 - theta) / unclicked


def _means(groups: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = np.bincount(groups, weights=sums, minlength=len(counts))
    return np.divide(total, counts, out=np.zeros(len(counts)), where=counts > 0)
