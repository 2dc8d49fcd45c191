"""How well the outputs of tasks fit their labels, over all candidates at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec

BINS = 15


def task_truth(task: TaskSpec, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What a task's outputs are measured by, [rows] float32, and the rows that take part, bool.

    Args:
      task: The task.
      labels: By name what is known of the rows, [rows] float32, NaN where unknown.
    """
    values = {name: tf.constant(labels[name], tf.float32) for name in task.labels}
    rows = tf.ones(len(labels[task.label]), tf.bool)
    targets = task.targets(values, rows).numpy()
    return targets, targets >= 0


def task_figures(
    outputs: TaskOutputs, raw: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """By task its figures, as `chance_figures` or `value_figures` give them.

    Args:
      outputs: What the outputs mean.
      raw: By task what the network gave, [rows].
      labels: As for `task_truth`.
    """
    tensors = {name: tf.constant(values, tf.float32) for name, values in raw.items()}
    predictions = outputs.predictions(tensors)
    figures = {}
    for task in outputs.tasks:
        truth, part = task_truth(task, labels)
        if task.is_value:
            seconds = labels[task.label][part]
            figures[task.name] = value_figures(
                truth[part], raw[task.name][part], seconds, predictions[task.name].numpy()[part]
            )
        else:
            chances = predictions[task.name].numpy()[part]
            figures[task.name] = chance_figures(truth[part] > 0, chances)
    return figures


def chance_figures(happened: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    """ROC-AUC, log-loss in nats and expected calibration error; NaN where not defined.

    Args:
      happened: [rows] bool.
      chances: [rows], from 0 to 1.
    """
    chances = np.asarray(chances, np.float64)
    if not len(happened):
        return dict.fromkeys(("auc", "log_loss", "ece"), np.nan)
    both = happened.any() and not happened.all()
    return {
        "auc": float(roc_auc_score(happened, chances)) if both else np.nan,
        "log_loss": float(log_loss(happened, chances, labels=[False, True])),
        "ece": calibration_error(happened, chances),
    }


def calibration_error(happened: np.ndarray, chances: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error, Σ_b n_b / n · |share that happened − mean chance|.

    The bins are bounded by quantiles of the chances, so that each holds about as many rows: rare
    things, such as purchases, would all fall into the first of several equally wide bins.

    Args:
      happened: [rows] bool.
      chances: [rows], from 0 to 1.
      bins: At most this many; equal chances stay together.

    Source: Guo et al. 2017 (ICML), "On calibration of modern neural networks", equation 3; bins of
    equal size as in Nixon et al. 2019, "Measuring calibration in deep learning".
    """
    edges = np.quantile(chances, np.linspace(0, 1, bins + 1)[1:-1])
    _, bin_of = np.unique(np.searchsorted(edges, chances), return_inverse=True)
    surplus = np.bincount(bin_of, weights=np.asarray(happened, np.float64) - chances)
    return float(np.abs(surplus).sum() / len(chances))


def value_figures(
    truth: np.ndarray, estimates: np.ndarray, labels: np.ndarray, values: np.ndarray
) -> dict[str, float]:
    """Root mean squared error on the transformed label, mean absolute error on the label itself.

    Args:
      truth, estimates: The transformed label and what the network gives, [rows].
      labels, values: The label and the output for use, [rows].
    """
    if not len(truth):
        return {"rmse": np.nan, "mae": np.nan}
    truth, labels = truth.astype(np.float64), labels.astype(np.float64)
    return {
        "rmse": float(np.sqrt(np.mean((truth - estimates) ** 2))),
        "mae": float(np.mean(np.abs(labels - values))),
    }
