"""Propensities by expectation maximisation, with relevance as a regression on features."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from mmrank.data.tables import DataError
from mmrank.propensity.em import expectation
from mmrank.propensity.log import ClickLog, Estimator

ROUNDS, TOLERANCE = 40, 1e-3
TREES, LEAVES, BINS, LEARNING_RATE = 10, 16, 255, 0.5
FITTED_ROWS = 100_000  # drawn once; more rows make the trees slower and not better
LEAST = 1e-4  # relevance is kept this far from 0 and 1


class RegressionEM(Estimator):
    """Estimates examination propensities θ_k and a relevance γ(x) that trees predict from features.

    No pair has to be seen twice. The method assumes that, given the features x, an item's position
    is independent of its relevance. So x should include the features that the logging ranker sorted
    by; if one is missing, the relevance that x does not explain biases θ.

    The features are the numbers and categories of items, queries and pairs. The trees are fitted to
    the expected relevance itself, where the paper draws 0 or 1 with that probability. A resample
    keeps the relevance of the whole log, so the intervals are conditional on that relevance.

    Source: Wang et al., "Position bias estimation for unbiased learning to rank in personal search"
      (WSDM 2018), algorithm 1.

    Example:
      >>> import numpy as np
      >>> log = ClickLog(
      ...     lists=np.repeat(np.arange(50), 2),
      ...     pairs=np.arange(100),
      ...     positions=np.tile([1, 2], 50),
      ...     clicks=np.ones(100),
      ...     features=np.arange(100.0)[:, None],
      ...     categorical=np.array([False]),
      ... )
      >>> estimate = RegressionEM(log)
      >>> estimate(np.ones(100)).tolist()  # always clicked, thus always examined
      [1.0, 1.0]
      >>> estimate(np.tile([1.0, 0.0], 50)).tolist()  # without the rows at position 2
      [1.0, nan]
    """

    def __init__(self, log: ClickLog):
        if not log.features.shape[1]:
            raise DataError(
                "method regression_em: the schema has no number or category of items, queries or "
                "pairs to predict relevance from; use --method em or harvest"
            )
        self._log = log
        rows = np.random.default_rng(0).permutation(len(log.clicks))
        self._fitted = np.sort(rows[:FITTED_ROWS])
        self._gamma: np.ndarray | None = None
        self._theta = np.full(log.depth, 0.5)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        log, theta = self._log, self._theta
        gamma = np.full(len(log.clicks), 0.5) if self._gamma is None else self._gamma
        views = log.by_position(weights)
        for _ in range(ROUNDS):
            looked, relevant = expectation(theta[log.positions - 1], gamma)
            before = theta
            examined = log.clicks + (1.0 - log.clicks) * looked
            theta = log.by_position(weights * examined) / np.maximum(views, 1e-12)
            if self._gamma is None:
                gamma = self._predicted(log.clicks + (1.0 - log.clicks) * relevant, weights)
            if np.abs(theta - before).max() < TOLERANCE * theta.max():
                break
        if self._gamma is None:
            self._gamma, self._theta = gamma, theta
        return np.where(views > 0, theta, np.nan) / theta[0]

    def _predicted(self, relevance: np.ndarray, weights: np.ndarray) -> np.ndarray:
        trees = HistGradientBoostingRegressor(
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            max_bins=BINS,
            learning_rate=LEARNING_RATE,
            categorical_features=self._log.categorical,
            early_stopping=False,
            random_state=0,
        )
        rows = self._fitted
        trees.fit(self._log.features[rows], relevance[rows], sample_weight=weights[rows])
        return np.clip(trees.predict(self._log.features), LEAST, 1.0 - LEAST)
