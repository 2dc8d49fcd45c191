"""Compares scorers by their ROC-AUC over all candidates, with intervals from resampled lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from mmrank.evaluation.significance import LEVEL

RESAMPLES = 200


@dataclasses.dataclass(frozen=True)
class AucDifference:
    """The ROC-AUC of the first scorer minus that of another, on one task and part.

    Attributes:
      task: The task.
      part: The part of the candidates.
      a, b: The names of the two scorers.
      difference, low, high: ROC-AUC of `a` minus that of `b`, and the bootstrap interval over
        lists.

    Example:
      >>> found = AucDifference("click", "all", "ours", "bm25", 0.02, low=-0.01, high=0.05)
      >>> found.low <= 0 <= found.high  # the two may be equally good
      True
    """

    task: str
    part: str
    a: str
    b: str
    difference: float
    low: float
    high: float


def auc_differences(
    task: str,
    part: str,
    happened: np.ndarray,
    logits: Mapping[str, np.ndarray],
    kept: np.ndarray,
    offsets: np.ndarray,
    seed: int,
) -> list[AucDifference]:
    """Returns the first scorer's ROC-AUC minus that of each other scorer, with intervals.

    The intervals come from resampled lists. The result is empty if there is only one scorer, or if
    the counted rows are all positive or all negative.

    Args:
      task, part: Names of the task and of the part, copied into the result.
      happened: Whether the label is positive, [rows] bool.
      logits: By scorer, [rows].
      kept: Rows that count, bool [rows].
      offsets: Where each list starts, then the number of rows, [lists + 1].
      seed: Seed of the resamples. All scorers share the same resamples.

    Example:
      >>> import numpy as np
      >>> happened = np.array([True, False, True, False])
      >>> logits = {"ours": np.array([2.0, 1.0, 2.0, 1.0]), "other": np.array([1.0, 2.0, 1.0, 2.0])}
      >>> [found] = auc_differences(
      ...     "click", "all", happened, logits, np.ones(4, bool), np.array([0, 2, 4]), seed=0
      ... )
      >>> found.difference, found.low, found.high
      (1.0, 1.0, 1.0)
    """
    first, *others = logits
    if not others or happened[kept].all() or not happened[kept].any():
        return []
    count = len(offsets) - 1
    lists = np.repeat(np.arange(count), np.diff(offsets))[kept]
    truth = happened[kept]
    rng = np.random.default_rng(seed)
    draws = [np.ones(count)]
    while len(draws) <= RESAMPLES:
        drawn = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        weight = drawn[lists]
        if weight[truth].any() and weight[~truth].any():
            draws.append(drawn)
    values = {
        name: weighted_aucs(truth, given[kept], (d[lists] for d in draws))
        for name, given in logits.items()
    }
    tail = (1 - LEVEL) / 2
    found = []
    for other in others:
        gain = values[first] - values[other]
        low, high = np.quantile(gain[1:], [tail, 1 - tail])
        found.append(
            AucDifference(task, part, first, other, float(gain[0]), float(low), float(high))
        )
    return found


def weighted_aucs(
    happened: np.ndarray, logits: np.ndarray, draws: Iterable[np.ndarray]
) -> np.ndarray:
    """Returns the ROC-AUC under several weightings of the rows, [draws]; a tie counts half.

    Args:
      happened: [rows] bool, with at least one True and one False.
      logits: [rows].
      draws: For each weighting, the weights of the rows, [rows].

    Example:
      >>> import numpy as np
      >>> happened, logits = np.array([True, False, True]), np.array([3.0, 2.0, 1.0])
      >>> weighted_aucs(happened, logits, [np.ones(3), np.array([2.0, 1.0, 1.0])]).round(4).tolist()
      [0.5, 0.6667]
    """
    order = np.argsort(logits, kind="stable")
    happened = happened[order]
    starts = np.flatnonzero(np.r_[True, np.diff(logits[order]) > 0])
    areas = []
    for weights in draws:
        weights = weights[order]
        positive = np.add.reduceat(np.where(happened, weights, 0.0), starts)
        negative = np.add.reduceat(np.where(happened, 0.0, weights), starts)
        below = np.cumsum(negative) - negative / 2
        areas.append((positive @ below) / (positive.sum() * negative.sum()))
    return np.array(areas)
