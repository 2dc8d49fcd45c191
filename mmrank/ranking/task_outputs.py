"""What the outputs of several tasks mean: probabilities, values, and one score by their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mmrank.ranking.order import Order
from mmrank.ranking.tasks import LOG1P, TaskSpec

# The least value of a regression, so that it has a logarithm: a millisecond, if it is in seconds.
LEAST_VALUE = 1e-3
UNCHANGED = (1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class TaskOutputs:
    """How a network's outputs become probabilities, values and scores.

    Attributes:
      tasks: The tasks, in their order.
      order: The formula that combines several tasks into one score; None for one task.
      calibration: For each task, slope a and offset b of a calibrated logit a · logit + b; the
        outputs of tasks without an entry stay unchanged.

    Example:
      A logit of 0 is a probability of 1/2; the offset ln 3 makes the odds 3 to 1:

      >>> from math import log
      >>> import tensorflow as tf
      >>> tasks = [TaskSpec("buy", "purchase")]
      >>> TaskOutputs(tasks).predictions({"buy": tf.zeros([1, 2])})["buy"].numpy().tolist()
      [[0.5, 0.5]]
      >>> calibrated = TaskOutputs(tasks, calibration={"buy": (1.0, log(3))})
      >>> calibrated.predictions({"buy": tf.zeros([1, 1])})["buy"].numpy().round(4).tolist()
      [[0.75]]
    """

    tasks: Sequence[TaskSpec]
    order: Order | None = None
    calibration: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(task.name for task in self.tasks)

    def predictions(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The prediction of each task: a probability, or a value of at least `LEAST_VALUE`.

        Args:
          raw: The network's outputs by task: a logit, or an estimate of the transformed label; all
            of one shape, such as [B, L].
        """
        return {
            task.name: _value(task, raw[task.name])
            if task.is_value
            else tf.sigmoid(self._calibrated(task, raw))
            for task in self.tasks
        }

    def scores(self, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """One score per candidate, of the outputs' shape: one task's output, or the formula's."""
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
    """The label that corresponds to an estimate of the transformed label."""
    value = tf.math.expm1(raw) if task.transform == LOG1P else raw
    return tf.maximum(value, LEAST_VALUE)
