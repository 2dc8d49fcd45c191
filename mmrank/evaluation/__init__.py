"""Offline evaluation: metrics with intervals, baselines, peers, paired tests and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.evaluation.auc import AucDifference, auc_differences
    from mmrank.evaluation.baselines import BASELINES, baseline_scores
    from mmrank.evaluation.calibration import calibrate, fit_calibration
    from mmrank.evaluation.classify import Classification, Classifier
    from mmrank.evaluation.compared import Compared, compared_scores
    from mmrank.evaluation.confidence import Threshold, find_thresholds, given_grades
    from mmrank.evaluation.curves import AtThreshold, Curves, at_threshold, best_threshold
    from mmrank.evaluation.exposure import Exposure, gini
    from mmrank.evaluation.metrics import DEFAULT_METRICS, METRICS, check_metrics, per_list
    from mmrank.evaluation.missing import MissingCurve, missing_curve
    from mmrank.evaluation.modalities import ModalityWeight, modality_weights
    from mmrank.evaluation.offline import evaluate_scores
    from mmrank.evaluation.report import Report, SliceReport
    from mmrank.evaluation.significance import (
        Comparison,
        Interval,
        bootstrap_intervals,
        compare,
        holm,
        sign_flip_p_values,
    )
    from mmrank.evaluation.slices import Slice, find_slices
    from mmrank.evaluation.tasks import TaskReport, report_tasks

__all__ = [
    "BASELINES",
    "DEFAULT_METRICS",
    "METRICS",
    "AtThreshold",
    "AucDifference",
    "Classification",
    "Classifier",
    "Compared",
    "Comparison",
    "Curves",
    "Exposure",
    "Interval",
    "MissingCurve",
    "ModalityWeight",
    "Report",
    "Slice",
    "SliceReport",
    "TaskReport",
    "Threshold",
    "at_threshold",
    "auc_differences",
    "baseline_scores",
    "best_threshold",
    "bootstrap_intervals",
    "calibrate",
    "check_metrics",
    "compare",
    "compared_scores",
    "evaluate_scores",
    "find_slices",
    "find_thresholds",
    "fit_calibration",
    "gini",
    "given_grades",
    "holm",
    "missing_curve",
    "modality_weights",
    "per_list",
    "report_tasks",
    "sign_flip_p_values",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.evaluation.auc": ["AucDifference", "auc_differences"],
        "mmrank.evaluation.baselines": ["BASELINES", "baseline_scores"],
        "mmrank.evaluation.calibration": ["calibrate", "fit_calibration"],
        "mmrank.evaluation.classify": ["Classification", "Classifier"],
        "mmrank.evaluation.compared": ["Compared", "compared_scores"],
        "mmrank.evaluation.confidence": ["Threshold", "find_thresholds", "given_grades"],
        "mmrank.evaluation.curves": ["AtThreshold", "Curves", "at_threshold", "best_threshold"],
        "mmrank.evaluation.exposure": ["Exposure", "gini"],
        "mmrank.evaluation.metrics": ["DEFAULT_METRICS", "METRICS", "check_metrics", "per_list"],
        "mmrank.evaluation.missing": ["MissingCurve", "missing_curve"],
        "mmrank.evaluation.modalities": ["ModalityWeight", "modality_weights"],
        "mmrank.evaluation.offline": ["evaluate_scores"],
        "mmrank.evaluation.report": ["Report", "SliceReport"],
        "mmrank.evaluation.significance": [
            "Comparison",
            "Interval",
            "bootstrap_intervals",
            "compare",
            "holm",
            "sign_flip_p_values",
        ],
        "mmrank.evaluation.slices": ["Slice", "find_slices"],
        "mmrank.evaluation.tasks": ["TaskReport", "report_tasks"],
    },
)
