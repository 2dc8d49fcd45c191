"""Multimodal learning to rank: text, photos, numbers and behaviour in one listwise model.

Importing this package is cheap: only the modules that need TensorFlow load it, and the names
defined here are loaded when they are first used. Commands, such as `python -m mmrank.train`, are
modules of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names
from mmrank.versions import ask_for_keras_2, check_versions

if TYPE_CHECKING:
    from mmrank.config import Config, ConfigError, from_mapping, load_config
    from mmrank.data.findings import DataError
    from mmrank.data.tables import Dataset, load_dataset
    from mmrank.data.validation import ValidationReport, validate_dataset
    from mmrank.evaluation.offline import evaluate_scores
    from mmrank.evaluation.report import Report
    from mmrank.frames.estimator import RankerEstimator
    from mmrank.frames.fitted import FittedRanker
    from mmrank.frames.learn import fit
    from mmrank.outputs import InputError, MissingExtra, OutputError, UserError
    from mmrank.schema import Feature, Schema, SchemaError, load_schema
    from mmrank.serving.export import export_run
    from mmrank.serving.ranker import Ranked, Ranker
    from mmrank.serving.request import RankError
    from mmrank.trained_run import Run, load_run

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Dataset",
    "Feature",
    "FittedRanker",
    "InputError",
    "MissingExtra",
    "OutputError",
    "RankError",
    "Ranked",
    "Ranker",
    "RankerEstimator",
    "Report",
    "Run",
    "Schema",
    "SchemaError",
    "UserError",
    "ValidationReport",
    "evaluate_scores",
    "export_run",
    "fit",
    "from_mapping",
    "load_config",
    "load_dataset",
    "load_run",
    "load_schema",
    "validate_dataset",
    "__version__",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.config": ["Config", "ConfigError", "from_mapping", "load_config"],
        "mmrank.data.findings": ["DataError"],
        "mmrank.data.tables": ["Dataset", "load_dataset"],
        "mmrank.data.validation": ["ValidationReport", "validate_dataset"],
        "mmrank.evaluation.offline": ["evaluate_scores"],
        "mmrank.evaluation.report": ["Report"],
        "mmrank.frames.estimator": ["RankerEstimator"],
        "mmrank.frames.fitted": ["FittedRanker"],
        "mmrank.frames.learn": ["fit"],
        "mmrank.outputs": ["InputError", "MissingExtra", "OutputError", "UserError"],
        "mmrank.schema": ["Feature", "Schema", "SchemaError", "load_schema"],
        "mmrank.serving.export": ["export_run"],
        "mmrank.serving.ranker": ["Ranked", "Ranker"],
        "mmrank.serving.request": ["RankError"],
        "mmrank.trained_run": ["Run", "load_run"],
    },
)

check_versions()
ask_for_keras_2()
