"""Evaluates scores and task probabilities as classifiers of single candidates.

It gives figures, curves and a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.evaluation.curves import AtThreshold, Curves, at_threshold, curves
from mmrank.evaluation.report import plain, text_table

HALF = 0.5  # the threshold of a probability


@dataclasses.dataclass(frozen=True)
class Classifier:
    """One scorer as a classifier, measured over all candidates.

    Attributes:
      scorer: The scorer's name.
      task: The task whose probability is measured, or empty for the score that orders lists.
      rows, positives: Numbers of candidates and of relevant candidates.
      curves: The curves; None if all candidates are relevant, or none is.
      at: The figures at the scorer's threshold; None without a threshold.

    Example:
      >>> Classifier("ours", "click", rows=2, positives=2, curves=None, at=None).name
      'ours: click'
    """

    scorer: str
    task: str
    rows: int
    positives: int
    curves: Curves | None
    at: AtThreshold | None

    @property
    def name(self) -> str:
        """The scorer's name, followed by the task's if there is one."""
        return f"{self.scorer}: {self.task}" if self.task else self.scorer


@dataclasses.dataclass(frozen=True)
class Classification:
    """All classifiers, in order.

    Example:
      >>> import numpy as np
      >>> relevant, scores = np.array([True, False]), np.array([0.9, 0.1])
      >>> found = Classification(tuple(classify(relevant, {"ours": scores}, thresholds={})))
      >>> print(found.to_text())
      all candidates  rows  relevant  ROC-AUC  avg. precision
      -------------------------------------------------------
      ours               2         1    1.000           1.000
    """

    classifiers: tuple[Classifier, ...]

    def to_dict(self) -> list[dict[str, Any]]:
        """Returns mappings for `json.dumps(..., allow_nan=False)`; undefined values are None."""
        listed: list[dict[str, Any]] = plain([dataclasses.asdict(c) for c in self.classifiers])
        return listed

    def to_text(self) -> str:
        """Returns a table of plain text."""
        shown = self.classifiers
        columns = [
            ["all candidates", *(c.name for c in shown)],
            ["rows", *(f"{c.rows:,}" for c in shown)],
            ["relevant", *(f"{c.positives:,}" for c in shown)],
            ["ROC-AUC", *(_figure(c.curves, "roc_auc") for c in shown)],
            ["avg. precision", *(_figure(c.curves, "average_precision") for c in shown)],
        ]
        if any(c.at is not None for c in shown):
            for name in ("threshold", "accuracy", "precision", "recall", "f1"):
                heading = {"f1": "F1"}.get(name, name)
                columns.append([heading, *(_figure(c.at, name) for c in shown)])
        return text_table(columns) + "\n"


def classify(
    relevant: np.ndarray,
    scores: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    task: str = "",
) -> Sequence[Classifier]:
    """Measures scorers as classifiers on the same candidates.

    Args:
      relevant: [rows] bool.
      scores: By scorer, [rows].
      thresholds: By scorer, for the scorers that have a threshold.
      task: The task whose probabilities the scores are; empty for scores that order lists.

    Example:
      >>> import numpy as np
      >>> relevant, scores = np.array([True, False]), np.array([0.9, 0.1])
      >>> [found] = classify(relevant, {"ours": scores}, thresholds={"ours": 0.5})
      >>> found.curves.roc_auc, found.at.accuracy
      (1.0, 1.0)
    """
    return [
        Classifier(
            scorer=name,
            task=task,
            rows=len(relevant),
            positives=int(np.sum(relevant)),
            curves=curves(relevant, values),
            at=at_threshold(relevant, values, thresholds[name]) if name in thresholds else None,
        )
        for name, values in scores.items()
    ]


def _figure(found: Curves | AtThreshold | None, name: str) -> str:
    value = np.nan if found is None else vars(found)[name]
    return f"{value:.3f}" if np.isfinite(value) else "-"
