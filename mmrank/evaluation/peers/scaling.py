"""Scales plain numbers for networks: to similar magnitudes and without missing values."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

LIMIT = 5.0  # in standard deviations, at which numbers are clipped
STANDARD, SIGNED_LOG, QUANTILE = "standard", "signed_log", "quantile"
MOST_KNOTS = 1_000


class Scaler:
    """Scales features [rows, F] to [rows, G] float32, G ≥ F, by the statistics of training rows.

    A number is standardised and clipped at five standard deviations; it is 0 where it is absent. A
    feature that is absent from some training rows also gets a column that marks where it is
    present.

    Args:
      features: Features of the training rows, NaN where absent, [rows, F].
      transform: The transform before standardisation: `standard` none, `signed_log`
        sign(x) log(1 + |x|), `quantile` the normal deviate of the number's quantile among the
        training rows.

    Raises:
      ValueError: An unknown transform.
    """

    def __init__(self, features: np.ndarray, transform: str):
        if transform not in (STANDARD, SIGNED_LOG, QUANTILE):
            raise ValueError(
                f"unknown transform {transform!r}; known: {STANDARD}, {SIGNED_LOG}, {QUANTILE}"
            )
        self._transform = transform
        self._knots = [_knots(column) for column in features.T] if transform == QUANTILE else []
        moved = self._moved(features)
        there = ~np.isnan(moved)
        count = np.maximum(there.sum(0), 1)
        self._mean = np.where(there, moved, 0.0).sum(0) / count
        spread = np.sqrt((np.where(there, moved - self._mean, 0.0) ** 2).sum(0) / count)
        self._deviation = np.where(spread > 1e-6 * np.abs(self._mean), spread, 1.0)
        self._gaps = np.flatnonzero(~there.all(0))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns the scaled features [rows, G] of any rows."""
        moved = self._moved(features)
        scaled = np.clip((moved - self._mean) / self._deviation, -LIMIT, LIMIT)
        there = ~np.isnan(moved[:, self._gaps])
        return np.concatenate([np.nan_to_num(scaled), there], 1).astype(np.float32)

    def _moved(self, features: np.ndarray) -> np.ndarray:
        values = np.asarray(features, np.float64)
        if self._transform == SIGNED_LOG:
            return np.sign(values) * np.log1p(np.abs(values))
        if self._transform == QUANTILE:
            columns = [_deviate(c, k) for c, k in zip(values.T, self._knots, strict=True)]
            return np.stack(columns, 1)
        return values


def _knots(column: np.ndarray) -> np.ndarray:
    known = column[~np.isnan(column)].astype(np.float64)
    at = np.linspace(0, 1, min(MOST_KNOTS, max(len(known), 2)))
    return np.quantile(known, at) if len(known) else np.zeros(2)


def _deviate(column: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Returns the normal deviate of each number's mean rank among the knots; NaN stays NaN."""
    low = np.searchsorted(knots, column, side="left")
    high = np.searchsorted(knots, column, side="right")
    share = (low + high + 1) / 2 / (len(knots) + 1)
    return np.where(np.isnan(column), np.nan, ndtri(share))
