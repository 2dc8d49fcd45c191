"""What the outputs of several tasks mean: chances and values, and the one score of their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mmrank.ranking.order import Order
from mmrank.ranking.tasks import LOG1P, TaskSpec

# The least value of a regression, so that it has a logarithm: a millisecond, for seconds.
LEAST_VALUE = 1e-3
UNCHANGED = (1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class TaskOutputs:
    """How a network's outputs become chances, values and scores.

    Attributes:
      tasks: The tasks, in their order.
      order: How several tasks make one score; None for one task.
      calibration: By task, slope a and offset b of a calibrated logit a · logit + b; tasks without
        an entry are as the network gives them.
    """

    tasks: Sequence[TaskSpec]
    order: Order | None = None
    calibration: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(task.name for task in self.tasks)

    def predictions(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """By task its output for use: a chance, or a value of at least `LEAST_VALUE`.

        Args:
          raw: By task what the network gives: a logit, or an estimate of the transformed label.
        """
        return {
            task.name: _value(task, raw[task.name])
            if task.is_value
            else tf.sigmoid(self._calibrated(task, raw))
            for task in self.tasks
        }

    def scores(self, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The score of each candidate, of the outputs' shape: one task's output, or the order's."""
        if self.order is None:
            (task,) = self.tasks
            return raw[task.name]
        logs = {
            task.name: tf.math.log(_value(task, raw[task.name]))
            if task.is_value
            else tf.math.log_sigmoid(self._calibrated(task, raw))
            for task in self.tasks
        }
        return self.order.scores(logs)

    def _calibrated(self, task: TaskSpec, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        slope, offset = self.calibration.get(task.name, UNCHANGED)
        return slope * raw[task.name] + offset


def _value(task: TaskSpec, raw: tf.Tensor) -> tf.Tensor:
    """The label that an estimate of the transformed label stands for."""
    value = tf.math.expm1(raw) if task.transform == LOG1P else raw
    return tf.maximum(value, LEAST_VALUE)
