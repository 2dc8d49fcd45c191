"""ROC-AUC over all candidates of two scorers, compared by resampling whole lists."""

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
      task, part, a, b: What is compared.
      difference, low, high: The difference and its bootstrap interval over lists.
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
    """The first scorer's ROC-AUC less each other's, with intervals from resampled lists.

    Args:
      task, part: What the differences are called.
      happened: [rows] bool.
      logits: By scorer, [rows].
      kept: Rows that count, bool [rows].
      offsets: Where each list starts, then the number of rows, [lists + 1].
      seed: Of the resamples, which are the same for every scorer.
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
    """ROC-AUC under several weightings of the rows, [draws]; a tie counts half.

    Args:
      happened: [rows] bool, with some of each.
      logits: [rows].
      draws: Weights [rows] of each weighting.
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
