"""The population stability index of two histograms over the same bins."""

from __future__ import annotations

import numpy as np

# What a bin holds at least, as a share: an empty one would make the index infinite.
FLOOR = 1e-4


def stability_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """How far two distributions are apart: 0 if equal, above 0.25 by custom a marked shift.

    With no shift at all it is about (bins − 1) · (1 / n + 1 / m) for n and m independent values,
    so that small samples look shifted: compare none of a few hundred values.

    Args:
      expected: Counts or shares by bin [K] of the reference.
      actual: Counts or shares by bin [K] of what is compared.

    Returns:
      Σ (aᵢ − eᵢ) · ln(aᵢ / eᵢ) over the shares e and a, each at least `FLOOR`.

    Raises:
      ValueError: The two have other bins, or one is empty.

    Source: Siddiqi, Credit Risk Scorecards (2006), ch. 9; the null distribution as in Yurdakul,
      Statistical Properties of Population Stability Index (2018), sec. 3.
    """
    if expected.shape != actual.shape:
        raise ValueError(f"{expected.shape} bins against {actual.shape}")
    if not expected.sum() > 0 or not actual.sum() > 0:
        raise ValueError("an empty distribution cannot be compared")
    e = np.maximum(expected / expected.sum(), FLOOR)
    a = np.maximum(actual / actual.sum(), FLOOR)
    return float(((a - e) * np.log(a / e)).sum())
