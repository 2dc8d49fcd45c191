"""Weights of tasks, learned with the network from how uncertain each task is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking.list_loss import BatchLoss

VARIABLE = "log_variance"


class TaskUncertainty(tf.keras.layers.Layer):
    """Returns its inputs unchanged; holds a learned log-variance s = log σ² for each task.

    Args:
      tasks: Names of the tasks.

    Example:
      >>> import tensorflow as tf
      >>> layer = TaskUncertainty(["click", "buy"])
      >>> layer({"click": tf.constant([1.0]), "buy": tf.constant([2.0])})["buy"].numpy()
      array([2.], dtype=float32)
      >>> [float(layer.log_variances[task]) for task in layer.tasks]
      [0.0, 0.0]
    """

    def __init__(self, tasks: Sequence[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.log_variances = {
            task: self.add_weight(
                name=f"{task}_{VARIABLE}", shape=(), initializer="zeros", dtype=tf.float32
            )
            for task in self.tasks
        }

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.identity(value) for name, value in inputs.items()}

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"tasks": self.tasks}


class UncertainLoss(tf.keras.losses.Loss):
    """A loss weighted by its task's uncertainty: L / σ² + log σ, or L / (2 σ²) + log σ.

    The first form is for likelihoods of classes, such as cross-entropy, and losses over lists; the
    second is for squared errors. log σ keeps the variance from growing without bound.

    Args:
      loss: The task's own loss.
      log_variance: s = log σ², a scalar variable.
      squared: Whether the loss is a squared error.

    Source: Kendall, Gal and Cipolla 2018 (CVPR), "Multi-task learning using uncertainty to weigh
    losses for scene geometry and semantics", equations 7 and 10.

    Example:
      With a log-variance of 0, the loss is that of the task:

      >>> import tensorflow as tf
      >>> from mmrank.ranking.losses import make_loss
      >>> loss = UncertainLoss(make_loss("mean_squared_loss"), tf.Variable(0.0), squared=False)
      >>> float(loss(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 0.0]])))
      0.5
    """

    def __init__(self, loss: BatchLoss, log_variance: tf.Variable, squared: bool):
        super().__init__(name=loss.name)
        self._loss, self._log_variance, self._squared = loss, log_variance, squared

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        value = tf.reduce_mean(self._loss.per_list(y_true, y_pred, sample_weight))
        s = tf.cast(self._log_variance, value.dtype)
        return (0.5 if self._squared else 1.0) * tf.exp(-s) * value + 0.5 * s

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss, a scalar, of labels [B, L] and scores [B, L]."""
        return self(y_true, y_pred)
