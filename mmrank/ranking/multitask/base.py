"""What every way of sharing a scoring tower between tasks has in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking._library import layers


class TaskTowers(tf.keras.layers.Layer, abc.ABC):
    """Scores by task, each [B, L] float32, of candidate vectors [B, L, F].

    Each candidate is scored alone, so that padding reaches no other candidate.

    Args:
      tasks: Their names.
      hidden: Widths of the layers that tasks share, one or more.
      task_hidden: Widths of the layers of each task's own tower.
      dropout: Share of units dropped in training.

    Raises:
      ValueError: There is no shared layer.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
        task_hidden: Sequence[int] = (32,),
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
        """By task, what its own tower reads, [B, L, H]."""

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
    """Hidden layers with ReLU and dropout, then a linear one of that width."""
    return layers.create_tower(
        list(hidden),
        output_units=width,
        activation=tf.nn.relu,
        use_batch_norm=False,
        dropout=dropout,
    )
