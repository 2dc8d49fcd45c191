"""What a threshold on scores gives, for one threshold and for all: ROC and precision–recall.

Candidates of all lists stand together here, so that scores of different lists are compared. That
is what a chance is made for; a score that was learned to order single lists need not bear it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

POINTS = 500


@dataclasses.dataclass(frozen=True)
class Curves:
    """ROC and precision–recall, a point a threshold, the highest threshold first.

    Attributes:
      threshold: Scores from which on a candidate counts as predicted; the first is infinite.
      false_positive_rate, recall: The ROC curve: shares of the not relevant and of the relevant
        candidates that are predicted.
      precision: Share of the predicted that is relevant; 1 where nothing is predicted.
      roc_auc: Area under the ROC curve.
      average_precision: Area under steps of the precision–recall curve.
    """

    threshold: tuple[float, ...]
    false_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    roc_auc: float
    average_precision: float


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """What one threshold gives.

    Attributes:
      threshold: The least score that counts as predicted.
      accuracy: Share of the candidates of which it is right.
      precision, recall, f1: Of the relevant ones; NaN precision where nothing is predicted.
    """

    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float


def curves(relevant: np.ndarray, scores: np.ndarray, points: int = POINTS) -> Curves | None:
    """Both curves; None where the candidates are all relevant, or none is.

    The areas are of all thresholds, whatever is kept as points.

    Args:
      relevant: [rows] bool.
      scores: [rows], finite; higher is better.
      points: At most this many are kept, evenly among all, both ends among them.

    Source: Fawcett 2006, "An introduction to ROC analysis"; average precision Σ (R_n − R_n−1) P_n
      as in Manning, Raghavan and Schütze 2008, chapter 8.
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
    """What a threshold gives over all candidates. `relevant` and `scores` as for `curves`."""
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
    """The threshold of the highest F1, halfway to the next lower score; None without a relevant.

    By F1 and not by accuracy: where few candidates are relevant, predicting none is often right.
    `relevant` and `scores` as for `curves`.
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
    """Thresholds from infinity down, and how many relevant and how many in all are predicted."""
    order = np.argsort(-scores, kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of equal scores
    hits = np.cumsum(np.asarray(relevant, np.float64)[order])[last]
    predicted = last + 1.0
    return np.append(np.inf, ordered[last]), np.append(0.0, hits), np.append(0.0, predicted)
