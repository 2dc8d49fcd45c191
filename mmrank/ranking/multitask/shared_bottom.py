"""Shared bottom: all tasks read the same hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking.multitask.base import TaskTowers, tower


class SharedBottom(TaskTowers):
    """Scores by task, y_k = h_k(f(x)): one bottom f, a tower h_k for each task.

    Source: Caruana 1997, "Multitask learning"; Ma et al. 2018 (KDD), "Modeling task relationships
    in multi-task learning with multi-gate mixture-of-experts", equation 1.

    Example:
      >>> import tensorflow as tf
      >>> towers = SharedBottom(["click", "buy"], hidden=[8], dropout=0.0)
      >>> towers(tf.zeros([2, 3, 5]))["buy"].shape
      TensorShape([2, 3])
    """

    def __init__(self, tasks: Sequence[str], hidden: Sequence[int], dropout: float, **kwargs: Any):
        super().__init__(tasks, hidden, dropout, **kwargs)
        self.bottom = tower(hidden[:-1], hidden[-1], dropout)

    def task_vectors(self, vectors: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        shared = tf.nn.relu(self.bottom(vectors, training=training))
        return dict.fromkeys(self.towers, shared)
