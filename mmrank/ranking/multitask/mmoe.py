"""Multi-gate mixture of experts: each task mixes the same experts in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking.multitask.base import TaskTowers, tower


class MixtureOfExperts(TaskTowers):
    """Scores by task, y_k = h_k(Σ_i g_k(x)_i f_i(x)) with gates g_k(x) = softmax(W_k x).

    Args:
      tasks, hidden, dropout, task_hidden: As for `TaskTowers`; every expert has the hidden layers.
      experts: How many there are, 2 or more.

    Raises:
      ValueError: There are fewer than two experts.

    Source: Ma et al. 2018 (KDD), "Modeling task relationships in multi-task learning with
    multi-gate mixture-of-experts", equations 5 to 8.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
        experts: int = 4,
        **kwargs: Any,
    ):
        super().__init__(tasks, hidden, dropout, **kwargs)
        if experts < 2:
            raise ValueError(f"multitask mmoe: experts starts at 2, not {experts}")
        self.arguments["experts"] = experts
        self.experts = [tower(hidden[:-1], hidden[-1], dropout) for _ in range(experts)]
        self.gates = {
            task: tf.keras.layers.Dense(experts, use_bias=False, name=f"gate_{task}")
            for task in tasks
        }

    def task_vectors(self, vectors: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        said = [tf.nn.relu(expert(vectors, training=training)) for expert in self.experts]
        said = tf.stack(said, -2)
        # In 32 bits: a softmax of 16 loses the small shares.
        shares = {
            task: tf.nn.softmax(tf.cast(gate(vectors), tf.float32))
            for task, gate in self.gates.items()
        }
        return {
            task: tf.reduce_sum(said * tf.cast(share, said.dtype)[..., None], -2)
            for task, share in shares.items()
        }
