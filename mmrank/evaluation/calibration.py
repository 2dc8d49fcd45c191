"""Calibrates the probabilities of tasks by correcting each task's logit on validation lists."""

from __future__ import annotations

import json
import logging

import numpy as np
from sklearn.linear_model import LogisticRegression

from mmrank.config import CALIBRATION_FILE, ConfigError
from mmrank.data.tables import Dataset
from mmrank.features import row_labels
from mmrank.outputs import write_whole
from mmrank.ranking.task_metrics import task_truth
from mmrank.schema import did_you_mean
from mmrank.trained_run import Run

NONE, PLATT, TEMPERATURE = "none", "platt", "temperature"
CALIBRATIONS = (NONE, PLATT, TEMPERATURE)
logger = logging.getLogger(__name__)


def check_calibration(name: str) -> None:
    """Checks that the calibration method exists.

    Raises:
      ConfigError: The name is unknown.
    """
    if name not in CALIBRATIONS:
        raise ConfigError(
            f"evaluation.calibration: unknown {name!r}{did_you_mean(name, CALIBRATIONS)}"
        )


def fit_calibration(logits: np.ndarray, happened: np.ndarray, name: str) -> tuple[float, float]:
    """Returns slope a and offset b of the calibrated logit a · logit + b, by maximum likelihood.

    Args:
      logits: [rows].
      happened: [rows] bool, with at least one True and one False.
      name: platt fits both a and b; temperature fits only a and sets b to 0.

    Source: Platt 1999, "Probabilistic outputs for support vector machines", equation 1, without
    its smoothed targets; Guo et al. 2017 (ICML), "On calibration of modern neural networks",
    section 4, for the temperature 1 / a.

    Example:
      Of four candidates with logit 1 three were clicked, and of four with logit −1 one. The logit
      of a share of 3/4 is ln 3, so that the slope is ln 3 and the offset 0:

      >>> from math import log
      >>> import numpy as np
      >>> logits = np.repeat([1.0, -1.0], 4)
      >>> clicked = np.array([True, True, True, False, True, False, False, False])
      >>> slope, offset = fit_calibration(logits, clicked, "platt")
      >>> abs(slope - log(3)) < 1e-4, abs(offset) < 1e-4
      (True, True)
    """
    # Logits are divided by their standard deviation, so that the solver's tolerance suits any
    # scale. C=inf means no regularisation.
    scale = float(np.std(logits)) or 1.0
    model = LogisticRegression(
        C=np.inf, fit_intercept=name == PLATT, solver="newton-cholesky", tol=1e-8
    )
    model.fit(np.asarray(logits, np.float64)[:, None] / scale, happened)
    offset = float(model.intercept_[0]) if name == PLATT else 0.0
    return float(model.coef_[0, 0]) / scale, offset


def calibrate(run: Run, dataset: Dataset, name: str) -> Run:
    """Returns the run with its tasks' probabilities calibrated on validation lists.

    The calibration is saved in the run's folder. A task keeps its logits, with a warning, if its
    validation labels are all equal or if the fitted slope is 0 or below. Such a slope would reverse
    the order of the candidates.

    Args:
      run: A trained run with tasks.
      dataset: The run's dataset.
      name: platt or temperature. With none, the run is returned unchanged.

    Raises:
      ConfigError: The run has no task whose output is a probability.
    """
    check_calibration(name)
    if name == NONE:
        return run
    outputs = run.outputs
    tasks = [] if outputs is None else [t for t in outputs.tasks if not t.is_value]
    if not tasks:
        raise ConfigError(
            f"evaluation.calibration: {name} corrects the probabilities of tasks, but no task in "
            "training.tasks predicts one"
        )
    rows = dataset.rows("valid")
    raw, labels = run.raw(dataset, rows), row_labels(dataset.schema, rows)
    fitted: dict[str, tuple[float, float]] = {}
    for task in tasks:
        truth, part = task_truth(task, labels)
        happened = truth[part] > 0
        if not happened.any() or happened.all():
            logger.warning(
                "calibration: task %s is unchanged: its validation labels are all equal",
                task.name,
            )
            continue
        slope, offset = fit_calibration(raw[task.name][part], happened, name)
        if slope <= 0:
            logger.warning(
                "calibration: task %s is unchanged: its logits do not increase with %s",
                task.name,
                task.label,
            )
            continue
        fitted[task.name] = (slope, offset)
        logger.info("calibration of %s: %.3f · logit %+.3f", task.name, slope, offset)
    write_whole(run.folder / CALIBRATION_FILE, json.dumps(fitted) + "\n")
    return run.with_calibration(fitted)
