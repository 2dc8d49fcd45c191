"""Scorers and chances of tasks as classifiers of single candidates: figures, curves, a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.evaluation.curves import AtThreshold, Curves, at_threshold, curves
from mmrank.evaluation.report import plain, text_table

HALF = 0.5  # the threshold of a chance


@dataclasses.dataclass(frozen=True)
class Classifier:
    """One scorer over all candidates.

    Attributes:
      scorer: Its name; with a task, whose chance is measured.
      task: The task, or empty for the score that orders lists.
      rows, positives: Candidates, and the relevant ones among them.
      curves: None where all candidates are relevant, or none is.
      at: What a threshold gives; None without one.
    """

    scorer: str
    task: str
    rows: int
    positives: int
    curves: Curves | None
    at: AtThreshold | None

    @property
    def name(self) -> str:
        """Scorer and task."""
        return f"{self.scorer}: {self.task}" if self.task else self.scorer


@dataclasses.dataclass(frozen=True)
class Classification:
    """All of them, in order."""

    classifiers: tuple[Classifier, ...]

    def to_dict(self) -> list[dict[str, Any]]:
        """Mappings for `json.dumps(..., allow_nan=False)`; what is not defined is None."""
        listed: list[dict[str, Any]] = plain([dataclasses.asdict(c) for c in self.classifiers])
        return listed

    def to_text(self) -> str:
        """A table of plain text."""
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
    """Scorers measured on the same candidates.

    Args:
      relevant: [rows] bool.
      scores: By scorer, [rows].
      thresholds: By scorer, where there is one.
      task: Whose chances the scores are; empty for scores that order lists.
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
