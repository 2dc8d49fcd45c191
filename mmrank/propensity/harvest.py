"""Propensities by intervention harvesting: the same query and item, seen at several positions."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from mmrank.data.runs import run_starts
from mmrank.data.tables import DataError
from mmrank.propensity.log import ClickLog, Estimator

STEPS, TOLERANCE = 100, 1e-9


class Harvest(Estimator):
    """Estimates examination propensities from query–item pairs seen at two positions or more.

    Where a pair was shown at both k and k', the click rates at the two positions differ by
    examination alone. For every two positions, clicks and views without a click are summed over the
    pairs that were shown at both. The propensities p and a relevance r of every two positions
    maximise the likelihood in which a view at k is clicked with probability p_k · r_kk'. The method
    assumes that a pair changes its position for reasons unrelated to its relevance at the moment:
    several rankers, ties broken at random, changing candidates.

    A pair seen n times at k and m times at k' counts n m / (n + m) at both, where the paper counts
    it once. This is equally unbiased, and has less variance where pairs are seen unequally often
    (Mantel and Haenszel 1959).

    Source: Agarwal et al., "Estimating position bias without intrusive interventions" (WSDM 2019),
      the all-pairs estimator, section 4.3.

    Example:
      A pair that was shown ten times at each of two positions, with eight and with four clicks:

      >>> import numpy as np
      >>> from mmrank.propensity import ClickLog
      >>> log = ClickLog(
      ...     lists=np.arange(20),
      ...     pairs=np.zeros(20, int),
      ...     positions=np.repeat([1, 2], 10),
      ...     clicks=np.repeat([1.0, 0.0, 1.0, 0.0], [8, 2, 4, 6]),
      ...     features=np.zeros([20, 0]),
      ...     categorical=np.zeros(0, bool),
      ... )
      >>> Harvest(log)(np.ones(20)).round(2).tolist()
      [1.0, 0.5]
    """

    def __init__(self, log: ClickLog):
        self._log = log
        depth = log.depth
        key = log.pairs * depth + log.positions - 1
        cells, self._cell = np.unique(key, return_inverse=True)
        position, pair = cells % depth, cells // depth
        self._first, self._second = _two_of_a_kind(pair)
        if not len(self._first):
            raise DataError(
                "method harvest: no query–item pair was seen at two positions; use a longer log, "
                "or a randomised slice with --method random"
            )
        self._sets = position[self._first] * depth + position[self._second]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        cells, depth = int(self._cell.max()) + 1, self._log.depth
        views = np.bincount(self._cell, weights=weights, minlength=cells)
        clicks = np.bincount(self._cell, weights=weights * self._log.clicks, minlength=cells)
        here, there = views[self._first], views[self._second]
        # n m / (n + m) times the click rate at this position, clicks / n.
        share = there / np.maximum(here + there, 1e-12)
        clicked = clicks[self._first] * share
        unclicked = (here - clicks[self._first]) * share
        square = (depth, depth)
        return fit_all_pairs(
            np.bincount(self._sets, clicked, depth * depth).reshape(square),
            np.bincount(self._sets, unclicked, depth * depth).reshape(square),
        )


def _two_of_a_kind(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of different indices with an equal value in a sorted array."""
    starts = run_starts(groups)
    sizes = np.diff(np.r_[starts, len(groups)])
    size = np.repeat(sizes, sizes)
    first = np.repeat(np.arange(len(groups)), size)
    begin = np.repeat(np.repeat(starts, sizes), size)
    within = np.arange(len(first)) - np.repeat(np.cumsum(size) - size, size)
    second = begin + within
    return first[first != second], second[first != second]


def fit_all_pairs(clicked: np.ndarray, unclicked: np.ndarray) -> np.ndarray:
    """Propensities [K] relative to position 1; NaN where clicks do not connect a position to it.

    They maximise Σ_kk' clicked_kk' log(p_k r_kk') + unclicked_kk' log(1 − p_k r_kk'), r symmetric.
    In logarithms of p and r this is concave, and the Hessian block of r is diagonal. So each step
    of Newton's method solves a system of only the K propensities.

    Args:
      clicked, unclicked: For every two positions, clicks at the first on pairs seen at both, and
        views there without a click, [K, K] float64.

    Example:
      Eight of ten views at position 1 were clicked, and four of ten views at position 2:

      >>> import numpy as np
      >>> clicked = np.array([[0.0, 8.0], [4.0, 0.0]])
      >>> unclicked = np.array([[0.0, 2.0], [6.0, 0.0]])
      >>> fit_all_pairs(clicked, unclicked).round(2).tolist()
      [1.0, 0.5]
    """
    # A finite maximum exists only where clicks connect every two positions in both directions.
    _, component = connected_components(clicked > 0, connection="strong")
    known = np.flatnonzero(component == component[0])
    propensity = np.full(len(clicked), np.nan)
    propensity[0] = 1.0
    if len(known) > 1:
        propensity[known] = _newton(clicked[np.ix_(known, known)], unclicked[np.ix_(known, known)])
    return propensity


def _newton(clicked: np.ndarray, unclicked: np.ndarray) -> np.ndarray:
    # Two positions without a click on their pairs give no information on p: their r goes to 0.
    # Where every view was clicked, r is 1 / p; the small number added keeps the logarithms finite.
    both = clicked + clicked.T > 0
    clicked = np.where(both, clicked, 0.0)
    unclicked = np.where(both, unclicked + 1e-3 * clicked, 0.0)
    rate = np.divide(
        clicked + clicked.T,
        clicked + clicked.T + unclicked + unclicked.T,
        where=both,
        out=np.full(clicked.shape, 0.5),
    )
    a, b = np.zeros(len(clicked)), np.log(np.minimum(rate, 0.999))
    value = _likelihood(a, b, clicked, unclicked)
    for _ in range(STEPS):
        probability = np.exp(a[:, None] + b)
        odds = probability / (1.0 - probability)
        slope = clicked - unclicked * odds
        bend = unclicked * odds / (1.0 - probability)
        slope_b, bend_b = slope + slope.T, np.where(both, bend + bend.T, 1.0)
        # Eliminates the b's (Schur complement) and keeps position 1 fixed.
        left = np.diag((bend - bend**2 / bend_b).sum(1)) - bend * bend.T / bend_b
        right = slope.sum(1) - (bend * slope_b / bend_b).sum(1)
        step_a = np.zeros(len(a))
        step_a[1:] = np.linalg.solve(left[1:, 1:], right[1:])
        step_b = (slope_b - bend * step_a[:, None] - bend.T * step_a[None]) / bend_b
        size = 1.0
        while size > 1e-10:
            better = _likelihood(a + size * step_a, b + size * step_b, clicked, unclicked)
            if better >= value:
                break
            size /= 2
        a, b = a + size * step_a, b + size * step_b
        gained, value = better - value, better
        if gained <= TOLERANCE * abs(value):
            break
    return np.exp(a - a[0])


def _likelihood(a: np.ndarray, b: np.ndarray, clicked: np.ndarray, unclicked: np.ndarray) -> float:
    """The log-likelihood; −∞ where a probability is 1 or more."""
    log_probability = np.where(clicked + unclicked > 0, a[:, None] + b, -1.0)
    if (log_probability >= 0).any():
        return -np.inf
    return float((clicked * log_probability + unclicked * np.log1p(-np.exp(log_probability))).sum())
