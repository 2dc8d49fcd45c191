"""The objectives that a ranker learns: their labels, and what their outputs mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mmrank.ranking.labels import task_labels
from mmrank.ranking.losses import LOSSES, PROBABILITY, VALUE
from mmrank.schema import LABELS, did_you_mean, is_name

NONE, LOG1P = "none", "log1p"
TRANSFORMS = (NONE, LOG1P)
RESERVED = ("scores", "tokens", "present", "embedding", "loss")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One objective.

    Attributes:
      name: Name of the task and its output.
      label: The label that it learns.
      loss: Name of its loss.
      transform: none or log1p, applied to the label before the loss.
      among: A label that must be above 0 for a candidate to take part; None for all candidates.
      given: The task without which this one cannot happen, or None.

    Raises:
      ValueError: The name is not valid, or a label or the transformation is unknown.

    Example:
      >>> import tensorflow as tf
      >>> task = TaskSpec("stay", "dwell", loss="mean_squared_loss", transform="log1p")
      >>> task.is_value, task.is_probability
      (True, False)
      >>> seconds = {"dwell": tf.constant([[0.0, 1.718281828, float("nan")]])}
      >>> task.targets(seconds, tf.constant([[True, True, True]])).numpy().round(4)
      array([[ 0.,  1., -1.]], dtype=float32)
    """

    name: str
    label: str
    loss: str = "sigmoid_cross_entropy_loss"
    transform: str = NONE
    among: str | None = None
    given: str | None = None

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        if not is_name(self.name) or self.name in RESERVED:
            raise ValueError(
                f"{where}: not a name for a task; use letters, digits and underscores, "
                f"but none of {', '.join(RESERVED)}"
            )
        for label in (self.label, *filter(None, [self.among])):
            if label not in LABELS:
                raise ValueError(f"{where}: unknown label {label!r}{did_you_mean(label, LABELS)}")
        if self.transform not in TRANSFORMS:
            raise ValueError(
                f"{where}: unknown transform {self.transform!r}"
                f"{did_you_mean(self.transform, TRANSFORMS)}"
            )
        if self.transform != NONE and self.is_probability:
            raise ValueError(
                f"{where}: {self.loss} needs labels of 0 and 1, which {self.transform} changes; "
                "use mean_squared_loss for a regression"
            )

    @property
    def is_value(self) -> bool:
        """Whether its output estimates the transformed label; otherwise it is a logit."""
        return LOSSES.entry(self.loss).output == VALUE

    @property
    def is_probability(self) -> bool:
        """Whether the sigmoid of its output is trained to be a probability."""
        return LOSSES.entry(self.loss).output == PROBABILITY

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it reads."""
        return (self.label, *filter(None, [self.among]))

    def targets(self, values: Mapping[str, tf.Tensor], mask: tf.Tensor) -> tf.Tensor:
        """TF-Ranking labels [B, L] float32, −1 for candidates that do not take part.

        Args:
          values: The labels of the candidates by name, [B, L], NaN where unknown.
          mask: [B, L] bool.
        """
        among = None if self.among is None else values[self.among]
        log, binary = self.transform == LOG1P, self.is_probability
        return task_labels(values[self.label], mask, among, log=log, binary=binary)


def labels_read(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
    """The labels that some tasks read, without duplicates."""
    return tuple(dict.fromkeys(label for task in tasks for label in task.labels))


def chains(tasks: Sequence[TaskSpec]) -> dict[str, str]:
    """For each task that follows another, that other task.

    Raises:
      ValueError: The other task is unknown, the tasks form a cycle, or one of the two is not
        learned as a probability on all shown candidates.
    """
    by_name = {task.name: task for task in tasks}
    given = {task.name: task.given for task in tasks if task.given is not None}
    for name, other in given.items():
        where = f"task {name!r}: given"
        if other not in by_name:
            raise ValueError(f"{where}: unknown task {other!r}{did_you_mean(other, by_name)}")
        for task in (by_name[name], by_name[other]):
            if not task.is_probability:
                raise ValueError(
                    f"{where} {other!r}: task {task.name!r} is learned by {task.loss}, and only "
                    f"probabilities can be multiplied; use sigmoid_cross_entropy_loss"
                )
            if task.among is not None:
                raise ValueError(
                    f"{where} {other!r}: both are learned on all shown candidates; "
                    f"leave `among` of task {task.name!r} out"
                )
        seen, at = {name}, other
        while at in given:
            if at in seen:
                raise ValueError(f"{where} {other!r}: the tasks depend on one another in a cycle")
            seen.add(at)
            at = given[at]
    return given
