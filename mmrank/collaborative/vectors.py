"""The collaborative scores of each candidate, as one vector that the ranker reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmrank.collaborative.snapshots import AsOfScores


def candidate_vectors(
    as_of: AsOfScores, names: Sequence[str], rows: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [N, scorers + 2] float32 of some rows, and where they are present, [N] bool.

    A vector holds the scores, standardised within the list, and then log(1 + events) of the user
    and of the item, by which the ranker can weight the scores. It is absent if the user has no
    event before the list, or the item has none and every scorer needs one.

    Args:
      as_of: The scores of the dataset.
      names: The scorers.
      rows: Rows of `as_of.dataset.lists`, with their index.
    """
    at = as_of.indices(rows)
    scores = as_of.scores(names)
    columns = [standardised(scores[name], as_of.starts)[at] for name in names]
    columns += [np.log1p(as_of.user_events[at]), np.log1p(as_of.item_events[at])]
    present = as_of.usable[at]
    return np.where(present[:, None], np.stack(columns, 1), 0.0).astype(np.float32), present


def standardised(scores: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The scores with mean 0 and standard deviation 1 in every list; 0 where all are equal.

    Args:
      scores: [rows].
      starts: Index of each list's first row, then the number of rows, [lists + 1].

    Example:
      >>> import numpy as np
      >>> standardised(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 2, 4])).tolist()
      [-1.0, 1.0, 0.0, 0.0]
    """
    lengths = np.diff(starts)
    if not len(lengths):
        return scores.astype(np.float64)
    mean = np.add.reduceat(scores, starts[:-1]) / lengths
    centred = scores - np.repeat(mean, lengths)
    deviation = np.sqrt(np.add.reduceat(centred**2, starts[:-1]) / lengths)
    # Scores that are equal up to rounding count as equal.
    flat = deviation <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
    return centred / np.repeat(np.where(flat, np.inf, deviation), lengths)
