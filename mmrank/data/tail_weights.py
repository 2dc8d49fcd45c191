"""Weights of training rows that give rare items more influence."""

from __future__ import annotations

import numpy as np

CAP = 10.0


def tail_weights(counts: np.ndarray, power: float, cap: float = CAP) -> np.ndarray:
    """Weights [rows] float32 in proportion to (1 + count)^−power, of mean 1.

    Weights are capped at `cap` times their mean and then scaled to mean 1 again. Only the rarest
    items reach the cap.

    Args:
      counts: Training events of each row's item, at least 0, [rows].
      power: 0 for equal weights, 1 for the inverse of popularity.
      cap: The cap, relative to the mean before it applies.

    Source: Steck 2011, "Item popularity and recommendation accuracy", equation 4, where the weight
      of a relevant item is a power of its popularity; the cap is that of clipped inverse propensity
      scores.

    Example:
      >>> import numpy as np
      >>> tail_weights(np.array([0, 3]), power=1.0).round(4)  # 1 and 1/4, divided by their mean 5/8
      array([1.6, 0.4], dtype=float32)
    """
    if not len(counts):
        return np.zeros(0, np.float32)
    weights = (1.0 + np.asarray(counts, np.float64)) ** -power
    weights = np.minimum(weights / weights.mean(), cap)
    return (weights / weights.mean()).astype(np.float32)
