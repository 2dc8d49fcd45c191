"""Which scores allow a grade to be given without a judge: thresholds with a bound on precision."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

LEVEL = 0.95
STEPS = 50


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A score from which on, or down to which, a grade may be given.

    Attributes:
      grade: The grade; 0 for the threshold below which candidates count as irrelevant.
      score: The threshold.
      precision: The lower bound on the share of candidates beyond it whose grade is at least that,
        or 0.
      rows: Judged candidates beyond it.
    """

    grade: float
    score: float
    precision: float
    rows: int


def precision_bound(hits: np.ndarray, rows: np.ndarray, error: float) -> np.ndarray:
    """The one-sided lower bound on a share of which `hits` of `rows` were seen, [N].

    Args:
      hits, rows: Whole numbers, hits ≤ rows, [N].
      error: The chance that the true share lies below the bound.

    Source: Clopper and Pearson 1934, by quantiles of the beta distribution.
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
    """The widest thresholds whose precision is at least `confidence`, grades in ascending order.

    One is looked for in the `steps` quantiles of the scores, for every grade above 0 and for grade
    0. All bounds hold together with a chance of at least `level` (Bonferroni over all that are
    looked at), given that judged candidates are drawn independently. A grade without such a
    threshold has none in the answer.

    Args:
      scores: Of judged candidates, [rows].
      grades: At least 0, [rows].
      confidence: The share that has to deserve its grade, above 0 and below 1.
      level: Chance that every bound holds.
      steps: Scores that are looked at for each grade.
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
        deserving = np.concatenate([[0], np.cumsum((judged >= grade)[::-1])])[above]
        bounds = precision_bound(deserving, above, error)
        found += [
            Threshold(float(grade), float(at[i]), float(bounds[i]), int(above[i]))
            for i in np.flatnonzero(bounds >= confidence)[:1]
        ]
    return found


def given_grades(scores: np.ndarray, thresholds: list[Threshold]) -> np.ndarray:
    """The grade that each score allows, NaN where it allows none, [rows].

    The highest grade whose threshold is reached; a score that is both high enough for a grade and
    low enough for irrelevance gets none.
    """
    grades = np.full(len(scores), np.nan)
    for threshold in (t for t in thresholds if t.grade > 0):
        grades[scores >= threshold.score] = threshold.grade
    for threshold in (t for t in thresholds if t.grade == 0):
        low = scores <= threshold.score
        grades[low] = np.where(np.isnan(grades[low]), 0.0, np.nan)
    return grades
