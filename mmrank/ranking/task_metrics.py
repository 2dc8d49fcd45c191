"""How well the outputs of tasks fit their labels, over all candidates together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec

BINS = 15


def task_truth(task: TaskSpec, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The targets of a task's outputs, [rows] float32, and which rows take part, [rows] bool.

    Args:
      task: The task.
      labels: The labels of the rows by name, [rows] float32, NaN where unknown.
    """
    values = {name: tf.constant(labels[name], tf.float32) for name in task.labels}
    rows = tf.ones(len(labels[task.label]), tf.bool)
    targets = task.targets(values, rows).numpy()
    return targets, targets >= 0


def task_figures(
    outputs: TaskOutputs, raw: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The figures of each task, as `probability_figures` or `value_figures` return them.

    Args:
      outputs: What the outputs mean.
      raw: The network's outputs by task, [rows].
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
            probabilities = predictions[task.name].numpy()[part]
            figures[task.name] = probability_figures(truth[part] > 0, probabilities)
    return figures


def probability_figures(happened: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """ROC-AUC, log-loss in nats and expected calibration error; NaN where not defined.

    Args:
      happened: [rows] bool.
      probabilities: Probabilities [rows], from 0 to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if not len(happened):
        return dict.fromkeys(("auc", "log_loss", "ece"), np.nan)
    from sklearn.metrics import log_loss, roc_auc_score  # slow to import

    both = happened.any() and not happened.all()
    return {
        "auc": float(roc_auc_score(happened, probabilities)) if both else np.nan,
        "log_loss": float(log_loss(happened, probabilities, labels=[False, True])),
        "ece": calibration_error(happened, probabilities),
    }


def calibration_error(happened: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error, Σ_b n_b / n · |share that happened − mean probability|.

    The bins are bounded by quantiles of the probabilities, so that each holds about as many rows:
    rare events, such as purchases, would all fall into the first of several equally wide bins.

    Args:
      happened: [rows] bool.
      probabilities: Probabilities [rows], from 0 to 1.
      bins: Maximum number of bins; equal probabilities stay in one bin.

    Source: Guo et al. 2017 (ICML), "On calibration of modern neural networks", equation 3; bins of
    equal size as in Nixon et al. 2019, "Measuring calibration in deep learning".

    Example:
      Half of four candidates were clicked. A probability of 0.5 for each is right on average, one
      of 0.75 is 0.25 too high:

      >>> import numpy as np
      >>> clicked = np.array([True, False, True, False])
      >>> calibration_error(clicked, np.full(4, 0.5)), calibration_error(clicked, np.full(4, 0.75))
      (0.0, 0.25)
    """
    edges = np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1])
    _, bin_of = np.unique(np.searchsorted(edges, probabilities), return_inverse=True)
    surplus = np.bincount(bin_of, weights=np.asarray(happened, np.float64) - probabilities)
    return float(np.abs(surplus).sum() / len(probabilities))


def value_figures(
    truth: np.ndarray, estimates: np.ndarray, labels: np.ndarray, values: np.ndarray
) -> dict[str, float]:
    """Root mean squared error on the transformed label, mean absolute error on the label itself.

    Args:
      truth, estimates: The transformed label and the network's output, [rows].
      labels, values: The label and the output in the label's unit, [rows].

    Example:
      >>> import numpy as np
      >>> seconds, predicted = np.array([1.0, 3.0]), np.array([2.0, 5.0])
      >>> figures = value_figures(seconds, predicted, seconds, predicted)
      >>> round(figures["rmse"], 4), figures["mae"]  # errors of 1 and 2
      (1.5811, 1.5)
    """
    if not len(truth):
        return {"rmse": np.nan, "mae": np.nan}
    truth, labels = truth.astype(np.float64), labels.astype(np.float64)
    return {
        "rmse": float(np.sqrt(np.mean((truth - estimates) ** 2))),
        "mae": float(np.mean(np.abs(labels - values))),
    }
