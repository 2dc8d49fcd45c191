"""Runs of equal values, such as the lists of a table or the groups of a sorted array."""

from __future__ import annotations

import numpy as np


def run_starts(values: np.ndarray) -> np.ndarray:
    """The index at which each run of equal consecutive values begins, int64 [runs].

    Args:
      values: [N], of any type that can be compared, without missing values.

    Example:
      >>> import numpy as np
      >>> run_starts(np.array([7, 7, 3, 3, 3, 7])).tolist()
      [0, 2, 5]
    """
    if not len(values):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
