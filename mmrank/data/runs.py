"""Runs of equal values: the lists of a table, the groups of a sorted array."""

from __future__ import annotations

import numpy as np


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where each run of equal neighbouring values begins, int64 [runs].

    Args:
      values: [N], of any type that can be compared, without missing ones.
    """
    if not len(values):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
