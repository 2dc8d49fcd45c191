"""Propensities by expectation maximisation, with a table of the relevance of each pair."""

from __future__ import annotations

import numpy as np

from mmrank.data.tables import DataError
from mmrank.propensity.log import ClickLog, Estimator

MIN_POSITIONS = 4
STEPS, TOLERANCE = 500, 1e-4


class PairEM(Estimator):
    """Examination propensities θ_k beside a relevance γ of every query–item pair.

    P(click) = θ_k γ. The expectation: of a view without a click, how likely it was looked at and
    how likely it was relevant; the maximisation: θ_k and γ are the means of these. Only pairs seen
    at four positions or more count: one that is seen once has γ = 0 or 1, whatever is true, and
    many of those would lift the propensities of all positions below the first.

    Source: Wang et al., "Position bias estimation for unbiased learning to rank in personal search"
      (WSDM 2018), equations 1 to 3.
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
        self._place, pair = cells[used] % depth, cells[used] // depth
        self._pair = np.unique(pair, return_inverse=True)[1]
        self._depth, self._clicks = depth, log.clicks[self._rows]
        self._start: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        counted = weights[self._rows]
        views = np.bincount(self._cell, weights=counted)
        clicks = np.bincount(self._cell, weights=counted * self._clicks)
        at_place = np.bincount(self._place, weights=views, minlength=self._depth)
        of_pair = np.bincount(self._pair, weights=views)
        # Resamples begin where the whole log ended.
        theta, gamma = self._start or (np.full(self._depth, 0.5), np.full(len(of_pair), 0.5))
        for _ in range(STEPS):
            looked, relevant = expectation(theta[self._place], gamma[self._pair])
            before = theta
            theta = _means(self._place, clicks + (views - clicks) * looked, at_place)
            gamma = _means(self._pair, clicks + (views - clicks) * relevant, of_pair)
            if np.nanmax(np.abs(theta - before)) < TOLERANCE * np.nanmax(theta):
                break
        self._start = self._start or (theta, gamma)
        return np.where(at_place > 0, theta, np.nan) / theta[0]


def expectation(theta: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(examined) and P(relevant) of views without a click, both [rows].

    Args:
      theta: Examination of each view's position, [rows].
      gamma: Relevance of its pair, [rows].
    """
    unclicked = np.maximum(1.0 - theta * gamma, 1e-12)
    return theta * (1.0 - gamma) / unclicked, gamma * (1.0 - theta) / unclicked


def _means(groups: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = np.bincount(groups, weights=sums, minlength=len(counts))
    return np.divide(total, counts, out=np.zeros(len(counts)), where=counts > 0)
