"""Weights of training rows that let rare items speak."""

from __future__ import annotations

import numpy as np

CAP = 10.0


def tail_weights(counts: np.ndarray, power: float, cap: float = CAP) -> np.ndarray:
    """Weights [rows] float32 in proportion to (1 + count)^−power, of mean 1.

    None is above `cap` times the mean before the cap; the cap takes what the rarest items would
    have above it, and the mean is made 1 again.

    Args:
      counts: Training events of each row's item, at least 0, [rows].
      power: 0 for equal weights, 1 for the inverse of popularity.
      cap: The bound.

    Source: Steck 2011, "Item popularity and recommendation accuracy", equation 4, where the weight
      of a relevant item is a power of its popularity; the cap is that of clipped inverse propensity
      scores.
    """
    if not len(counts):
        return np.zeros(0, np.float32)
    weights = (1.0 + np.asarray(counts, np.float64)) ** -power
    weights = np.minimum(weights / weights.mean(), cap)
    return (weights / weights.mean()).astype(np.float32)
