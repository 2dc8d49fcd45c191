"""Figures of thresholds on scores: ROC and precision–recall curves, and single thresholds.

Candidates of all lists are pooled here, so that scores of different lists are compared.
Probabilities are comparable across lists. A score that was trained to order single lists need not
be.
"""

from __future__ import annotations

import dataclasses

import numpy as np

POINTS = 500


@dataclasses.dataclass(frozen=True)
class Curves:
    """ROC and precision–recall curves, one point per threshold, the highest threshold first.

    Attributes:
      threshold: The lowest score at which a candidate counts as predicted; the first is infinite.
      false_positive_rate, recall: The ROC curve: the share of the irrelevant candidates and the
        share of the relevant candidates that are predicted.
      precision: Share of the predicted candidates that is relevant; 1 where none is predicted.
      roc_auc: Area under the ROC curve.
      average_precision: Area under the steps of the precision–recall curve.

    Example:
      >>> import numpy as np
      >>> found = curves(np.array([True, False]), np.array([0.9, 0.1]))
      >>> found.threshold, found.recall, found.false_positive_rate
      ((inf, 0.9, 0.1), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0))
    """

    threshold: tuple[float, ...]
    false_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    roc_auc: float
    average_precision: float


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """The figures of one threshold. A figure that is not defined is NaN.

    Attributes:
      threshold: The lowest score at which a candidate counts as predicted.
      accuracy: Share of the candidates that are classified correctly.
      precision, recall, f1: Figures for the relevant candidates. The precision is NaN if no
        candidate is predicted.

    Example:
      No candidate reaches the threshold:

      >>> import numpy as np
      >>> found = at_threshold(np.array([True, False]), np.array([0.9, 0.1]), threshold=2.0)
      >>> found.accuracy, found.recall, found.precision
      (0.5, 0.0, nan)
    """

    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float


def curves(relevant: np.ndarray, scores: np.ndarray, points: int = POINTS) -> Curves | None:
    """Returns both curves; None if all candidates are relevant, or none is.

    The areas are computed from all thresholds, however many points are kept.

    Args:
      relevant: [rows] bool.
      scores: [rows], finite; higher is better.
      points: Maximum number of points to keep, evenly spaced among all, both ends included.

    Source: Fawcett 2006, "An introduction to ROC analysis"; average precision Σ (R_n − R_n−1) P_n
      as in Manning, Raghavan and Schütze 2008, chapter 8.

    Example:
      Three of four pairs of a relevant and an irrelevant candidate are in the right order. The
      precision is 1 at the first relevant candidate and 2/3 at the second:

      >>> import numpy as np
      >>> found = curves(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
      >>> found.roc_auc, round(found.average_precision, 4)
      (0.75, 0.8333)
    """
    count = int(np.sum(relevant))
    if count in (0, len(relevant)):
        return None
    threshold, hits, predicted = _cumulated(relevant, scores)
    recall = hits / count
    false = (predicted - hits) / (len(relevant) - count)
    precision = np.divide(hits, predicted, out=np.ones_like(hits), where=predicted > 0)
    kept = np.unique(np.linspace(0, len(threshold) - 1, points).round().astype(np.int64))

    def some(values: np.ndarray) -> tuple[float, ...]:
        return tuple(values[kept].tolist())

    return Curves(
        threshold=some(threshold),
        false_positive_rate=some(false),
        recall=some(recall),
        precision=some(precision),
        roc_auc=float(np.sum(np.diff(false) * (recall[1:] + recall[:-1]) / 2)),
        average_precision=float(np.sum(np.diff(recall) * precision[1:])),
    )


def at_threshold(relevant: np.ndarray, scores: np.ndarray, threshold: float) -> AtThreshold:
    """Returns a threshold's figures over all candidates. For the other arguments see `curves`.

    Example:
      >>> import numpy as np
      >>> at_threshold(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]), 0.75)
      AtThreshold(threshold=0.75, accuracy=0.5, precision=0.5, recall=0.5, f1=0.5)
    """
    predicted = scores >= threshold
    hits, found, wanted = (int(np.sum(v)) for v in (predicted & relevant, predicted, relevant))
    return AtThreshold(
        threshold=float(threshold),
        accuracy=float(np.mean(predicted == relevant)) if len(relevant) else np.nan,
        precision=hits / found if found else np.nan,
        recall=hits / wanted if wanted else np.nan,
        f1=2 * hits / (found + wanted) if found + wanted else np.nan,
    )


def best_threshold(relevant: np.ndarray, scores: np.ndarray) -> float | None:
    """Returns the threshold with the highest F1; None if no candidate is relevant.

    The threshold is halfway between the best score and the next lower one. F1 is used instead of
    accuracy because, where few candidates are relevant, predicting none is often correct. For
    `relevant` and `scores` see `curves`.

    Example:
      >>> import numpy as np
      >>> relevant, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
      >>> round(best_threshold(relevant, scores), 4)  # F1 is 4 / 5 there
      0.4
    """
    count = int(np.sum(relevant))
    if count == 0:
        return None
    threshold, hits, predicted = _cumulated(relevant, scores)
    best = int(np.argmax(2 * hits / (predicted + count)))
    lower = threshold[best + 1] if best + 1 < len(threshold) else threshold[best]
    return float((threshold[best] + lower) / 2)


def _cumulated(
    relevant: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns thresholds from infinity down, with the numbers of candidates predicted at each.

    Returns:
      The thresholds, the number of relevant candidates predicted at each, and the number of all
      candidates predicted at each.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of equal scores
    hits = np.cumsum(np.asarray(relevant, np.float64)[order])[last]
    predicted = last + 1.0
    return np.append(np.inf, ordered[last]), np.append(0.0, hits), np.append(0.0, predicted)
