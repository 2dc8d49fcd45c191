"""Thresholds on scores beyond which a grade may be given without a judge.

Each threshold has a lower bound on its precision.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

LEVEL = 0.95
STEPS = 50


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A score at or above which a grade may be given; for grade 0, at or below which it may.

    Attributes:
      grade: The grade; 0 for the threshold below which candidates count as irrelevant.
      score: The threshold.
      precision: Lower bound on the share of candidates beyond the threshold that deserve the grade:
        their true grade is at least `grade`, or exactly 0 if `grade` is 0.
      rows: Number of judged candidates beyond the threshold.

    Example:
      >>> import numpy as np
      >>> threshold = Threshold(grade=2.0, score=0.8, precision=0.95, rows=120)
      >>> (np.array([0.9, 0.4]) >= threshold.score).tolist()  # may grade 2 be given?
      [True, False]
    """

    grade: float
    score: float
    precision: float
    rows: int


def precision_bound(hits: np.ndarray, rows: np.ndarray, error: float) -> np.ndarray:
    """Returns the one-sided lower bound on a share, given `hits` observed in `rows`, [N].

    Args:
      hits, rows: Whole numbers, hits ≤ rows, [N].
      error: The probability that the true share lies below the bound.

    Source: Clopper and Pearson 1934, by quantiles of the beta distribution.

    Example:
      Ten hits in ten rows happen with a probability of 5% if the true share is 0.05 ** (1 / 10):

      >>> import numpy as np
      >>> precision_bound(np.array([10, 0]), np.array([10, 10]), error=0.05).round(4).tolist()
      [0.7411, 0.0]
    """
    hits, rows = np.asarray(hits), np.asarray(rows)
    none = hits == 0
    bound = stats.beta.ppf(error, np.where(none, 1, hits), rows - hits + 1)
    return np.where(none, 0.0, bound)


def find_thresholds(
    scores: np.ndarray,
    grades: np.ndarray,
    confidence: float,
    *,
    level: float = LEVEL,
    steps: int = STEPS,
) -> list[Threshold]:
    """Returns the widest thresholds whose precision is at least `confidence`, by ascending grade.

    For grade 0 and for every grade above 0, the candidate thresholds are the `steps` quantiles of
    the scores. All bounds hold together with a probability of at least `level` (Bonferroni over all
    thresholds examined), given that judged candidates are drawn independently. A grade for which no
    threshold qualifies is missing from the result.

    Args:
      scores: Scores of judged candidates, [rows].
      grades: Grades of the same candidates, at least 0, [rows].
      confidence: The share of candidates that has to deserve its grade, above 0 and below 1.
      level: Probability that every bound holds.
      steps: Number of scores examined for each grade.

    Example:
      A thousand candidates of grade 1 above score 0, and as many of grade 0 below:

      >>> import numpy as np
      >>> scores = np.r_[np.linspace(-2, -1, 1000), np.linspace(1, 2, 1000)]
      >>> grades = np.repeat([0, 1], 1000)
      >>> found = find_thresholds(scores, grades, confidence=0.9)
      >>> [(threshold.grade, threshold.precision >= 0.9) for threshold in found]
      [(0.0, True), (1.0, True)]
    """
    at = np.unique(np.quantile(scores, np.linspace(0, 1, steps), method="nearest"))
    levels = np.unique(grades[grades > 0])
    error = (1.0 - level) / (len(at) * (len(levels) + 1))
    order = np.argsort(scores, kind="stable")
    ranked, judged = scores[order], grades[order]

    below = np.searchsorted(ranked, at, side="right")
    irrelevant = np.concatenate([[0], np.cumsum(judged == 0)])[below]
    bounds = precision_bound(irrelevant, below, error)
    found = [
        Threshold(0.0, float(at[i]), float(bounds[i]), int(below[i]))
        for i in np.flatnonzero(bounds >= confidence)[-1:]
    ]
    above = len(scores) - np.searchsorted(ranked, at, side="left")
    for grade in levels:
        relevant = np.concatenate([[0], np.cumsum((judged >= grade)[::-1])])[above]
        bounds = precision_bound(relevant, above, error)
        found += [
            Threshold(float(grade), float(at[i]), float(bounds[i]), int(above[i]))
            for i in np.flatnonzero(bounds >= confidence)[:1]
        ]
    return found


def given_grades(scores: np.ndarray, thresholds: list[Threshold]) -> np.ndarray:
    """Returns the grade that each score allows, NaN where it allows none, [rows].

    This is the highest grade whose threshold the score reaches. A score that is both high enough
    for a grade and low enough for grade 0 gets NaN.

    Example:
      >>> import numpy as np
      >>> low, high = Threshold(0.0, 0.2, 0.95, 40), Threshold(2.0, 0.8, 0.9, 30)
      >>> given_grades(np.array([0.9, 0.5, 0.1]), [low, high]).tolist()
      [2.0, nan, 0.0]
    """
    grades = np.full(len(scores), np.nan)
    for threshold in (t for t in thresholds if t.grade > 0):
        grades[scores >= threshold.score] = threshold.grade
    for threshold in (t for t in thresholds if t.grade == 0):
        low = scores <= threshold.score
        grades[low] = np.where(np.isnan(grades[low]), 0.0, np.nan)
    return grades
