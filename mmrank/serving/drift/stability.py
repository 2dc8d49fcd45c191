"""The population stability index of two histograms over the same bins."""

from __future__ import annotations

import numpy as np

# The least share of a bin: an empty bin would make the index infinite.
FLOOR = 1e-4


def stability_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Returns the distance of two distributions: 0 if they are equal.

    By convention an index above 0.25 is a marked shift. With no shift at all the index is about
    (bins − 1) · (1 / n + 1 / m) for n and m independent values, so that small samples look shifted:
    do not compare samples of a few hundred values.

    Args:
      expected: Counts or shares by bin [K] of the reference.
      actual: Counts or shares by bin [K] of the compared values.

    Returns:
      Σ (aᵢ − eᵢ) · ln(aᵢ / eᵢ) over the shares e and a, each at least `FLOOR`.

    Raises:
      ValueError: The two have different numbers of bins, or one is empty.

    Source: Siddiqi, Credit Risk Scorecards (2006), ch. 9; the null distribution as in Yurdakul,
      Statistical Properties of Population Stability Index (2018), sec. 3.

    Example:
      >>> from math import log
      >>> import numpy as np
      >>> stability_index(np.array([50, 50]), np.array([5, 5]))
      0.0
      >>> round(stability_index(np.array([50, 50]), np.array([25, 75])), 4)
      0.2747
      >>> round(-0.25 * log(0.25 / 0.5) + 0.25 * log(0.75 / 0.5), 4)
      0.2747
    """
    if expected.shape != actual.shape:
        raise ValueError(
            f"the distributions have different bins: {expected.shape} and {actual.shape}"
        )
    if not expected.sum() > 0 or not actual.sum() > 0:
        raise ValueError("an empty distribution cannot be compared")
    e = np.maximum(expected / expected.sum(), FLOOR)
    a = np.maximum(actual / actual.sum(), FLOOR)
    return float(((a - e) * np.log(a / e)).sum())
