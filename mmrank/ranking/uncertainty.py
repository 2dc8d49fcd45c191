"""Weights of tasks that are learned with everything else, from how uncertain each task is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking.losses import MaskedLoss

VARIABLE = "log_variance"


class TaskUncertainty(tf.keras.layers.Layer):
    """Its inputs, unchanged; it holds a learned log-variance s = log σ² for each task.

    Args:
      tasks: Their names.
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
    """A loss weighed by its task's uncertainty: L / σ² + log σ, or L / (2 σ²) + log σ.

    The first is for likelihoods of classes, such as cross-entropy, and losses over lists; the
    second for squared errors. log σ keeps the variance from growing without end.

    Args:
      loss: The task's own loss.
      log_variance: s = log σ², a scalar variable.
      squared: Whether the loss is a squared error.

    Source: Kendall, Gal and Cipolla 2018 (CVPR), "Multi-task learning using uncertainty to weigh
    losses for scene geometry and semantics", equations 7 and 10.
    """

    def __init__(self, loss: MaskedLoss, log_variance: tf.Variable, squared: bool):
        super().__init__(name=loss.name)
        self._loss, self._log_variance, self._squared = loss, log_variance, squared

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        value = tf.reduce_mean(self._loss.per_list(y_true, y_pred, sample_weight))
        s = tf.cast(self._log_variance, value.dtype)
        return (0.5 if self._squared else 1.0) * tf.exp(-s) * value + 0.5 * s

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The loss, a scalar."""
        return self(y_true, y_pred)
