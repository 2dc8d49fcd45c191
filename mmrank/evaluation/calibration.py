"""Chances that happen as often as they say: each task's logit is corrected on validation lists."""

from __future__ import annotations

import json
import logging

import numpy as np
from sklearn.linear_model import LogisticRegression

from mmrank.build import Run
from mmrank.config import CALIBRATION_FILE, ConfigError
from mmrank.data.tables import Dataset
from mmrank.features import row_labels
from mmrank.outputs import write_whole
from mmrank.ranking.task_metrics import task_truth
from mmrank.schema import did_you_mean

NONE, PLATT, TEMPERATURE = "none", "platt", "temperature"
CALIBRATIONS = (NONE, PLATT, TEMPERATURE)
logger = logging.getLogger(__name__)


def check_calibration(name: str) -> None:
    """Nothing, if there is such a calibration.

    Raises:
      ConfigError: There is none.
    """
    if name not in CALIBRATIONS:
        raise ConfigError(
            f"evaluation.calibration: unknown {name!r}{did_you_mean(name, CALIBRATIONS)}"
        )


def fit_calibration(logits: np.ndarray, happened: np.ndarray, name: str) -> tuple[float, float]:
    """Slope a and offset b of the calibrated logit a · logit + b, by maximum likelihood.

    Args:
      logits: [rows].
      happened: [rows] bool, with some of each.
      name: platt fits both; temperature fits a alone, with b 0.

    Source: Platt 1999, "Probabilistic outputs for support vector machines", equation 1, without
    its smoothed targets; Guo et al. 2017 (ICML), "On calibration of modern neural networks",
    section 4, for the temperature 1 / a.
    """
    # In units of their own spread, so that the solver's tolerance fits; no regularisation.
    scale = float(np.std(logits)) or 1.0
    model = LogisticRegression(
        C=np.inf, fit_intercept=name == PLATT, solver="newton-cholesky", tol=1e-8
    )
    model.fit(np.asarray(logits, np.float64)[:, None] / scale, happened)
    offset = float(model.intercept_[0]) if name == PLATT else 0.0
    return float(model.coef_[0, 0]) / scale, offset


def calibrate(run: Run, dataset: Dataset, name: str) -> Run:
    """The run with its tasks' chances calibrated on validation lists, which its folder keeps.

    A task whose logits say nothing, or the wrong way round, is left as it is, with a warning: a
    slope of 0 or below would turn its order around.

    Args:
      run: A trained run with tasks.
      dataset: Its dataset.
      name: platt or temperature; none changes nothing.

    Raises:
      ConfigError: The run has no task whose output is a chance.
    """
    check_calibration(name)
    if name == NONE:
        return run
    outputs = run.outputs
    tasks = [] if outputs is None else [t for t in outputs.tasks if not t.is_value]
    if not tasks:
        raise ConfigError(
            f"evaluation.calibration: {name} corrects the chances of tasks, and training.tasks has "
            "none that gives one"
        )
    rows = dataset.rows("valid")
    raw, labels = run.raw(dataset, rows), row_labels(dataset.schema, rows)
    fitted: dict[str, tuple[float, float]] = {}
    for task in tasks:
        truth, part = task_truth(task, labels)
        happened = truth[part] > 0
        if not happened.any() or happened.all():
            logger.warning(
                "calibration: task %s is left as it is: its validation labels are all alike",
                task.name,
            )
            continue
        slope, offset = fit_calibration(raw[task.name][part], happened, name)
        if slope <= 0:
            logger.warning(
                "calibration: task %s is left as it is: its logits do not rise with %s",
                task.name,
                task.label,
            )
            continue
        fitted[task.name] = (slope, offset)
        logger.info("calibration of %s: %.3f · logit %+.3f", task.name, slope, offset)
    write_whole(run.folder / CALIBRATION_FILE, json.dumps(fitted) + "\n")
    return run.with_calibration(fitted)
