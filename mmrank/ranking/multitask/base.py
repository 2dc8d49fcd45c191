"""The base class of all ways in which tasks share a scoring tower."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranges import Count
from mmrank.ranking._library import layers


@dataclasses.dataclass(frozen=True)
class TaskOptions:
    """Options of every way of sharing.

    Attributes:
      task_hidden: Widths of the layers of each task's own tower.
    """

    task_hidden: tuple[Count, ...] = (32,)


class TaskTowers(tf.keras.layers.Layer, abc.ABC):
    """Scores by task, each [B, L] float32, of candidate vectors [B, L, F].

    Each candidate is scored alone, so that padding does not affect other candidates.

    Args:
      tasks: Names of the tasks.
      hidden: Widths of the layers that tasks share, one or more.
      task_hidden: As in `TaskOptions`.
      dropout: Share of units dropped in training.

    Raises:
      ValueError: There is no shared layer.

    Example:
      >>> import tensorflow as tf
      >>> class Separate(TaskTowers):  # every task reads the vectors themselves
      ...     def task_vectors(self, vectors, training):
      ...         return dict.fromkeys(self.towers, vectors)
      >>> towers = Separate(["click", "buy"], hidden=[8], dropout=0.0)
      >>> towers(tf.zeros([2, 3, 5]))["buy"].shape
      TensorShape([2, 3])
    """

    def __init__(
        self,
        tasks: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
        task_hidden: Sequence[int] = TaskOptions.task_hidden,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not hidden:
            raise ValueError("head: several tasks share its hidden layers; give it at least one")
        self.arguments = {
            "tasks": tuple(tasks),
            "hidden": tuple(hidden),
            "dropout": dropout,
            "task_hidden": tuple(task_hidden),
        }
        self.dropout = dropout
        self.towers = {task: tower(task_hidden, 1, dropout) for task in tasks}

    @abc.abstractmethod
    def task_vectors(self, vectors: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        """The inputs [B, L, H] of each task's own tower, made of vectors [B, L, F]."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Args: vectors [B, L, F]."""
        read = self.task_vectors(inputs, training)
        return {
            task: tf.cast(tower(read[task], training=training)[..., 0], tf.float32)
            for task, tower in self.towers.items()
        }

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


def tower(hidden: Sequence[int], width: int, dropout: float) -> tf.keras.Sequential:
    """Hidden layers with ReLU and dropout, then a linear layer of a given width."""
    return layers.create_tower(
        list(hidden),
        output_units=width,
        activation=tf.nn.relu,
        use_batch_norm=False,
        dropout=dropout,
    )
