"""Multi-gate mixture of experts: each task mixes the same experts with its own gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tensorflow as tf

from mmrank.ranges import Range
from mmrank.ranking.multitask.base import TaskOptions, TaskTowers, tower


@dataclasses.dataclass(frozen=True)
class ExpertOptions(TaskOptions):
    """Options of `MixtureOfExperts`.

    Attributes:
      experts: How many experts there are.
    """

    experts: Annotated[int, Range(2)] = 4


class MixtureOfExperts(TaskTowers):
    """Scores by task, y_k = h_k(Σ_i g_k(x)_i f_i(x)) with gates g_k(x) = softmax(W_k x).

    Args:
      tasks, hidden, dropout, task_hidden: As for `TaskTowers`; every expert has the hidden layers.
      experts: As in `ExpertOptions`.

    Source: Ma et al. 2018 (KDD), "Modeling task relationships in multi-task learning with
    multi-gate mixture-of-experts", equations 5 to 8.

    Example:
      >>> import tensorflow as tf
      >>> towers = MixtureOfExperts(["click", "buy"], hidden=[8], dropout=0.0, experts=3)
      >>> towers(tf.zeros([2, 3, 5]))["buy"].shape
      TensorShape([2, 3])
    """

    def __init__(
        self,
        tasks: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
        experts: int = ExpertOptions.experts,
        **kwargs: Any,
    ):
        super().__init__(tasks, hidden, dropout, **kwargs)
        self.arguments["experts"] = experts
        self.experts = [tower(hidden[:-1], hidden[-1], dropout) for _ in range(experts)]
        self.gates = {
            task: tf.keras.layers.Dense(experts, use_bias=False, name=f"gate_{task}")
            for task in tasks
        }

    def task_vectors(self, vectors: tf.Tensor, training: bool | None) -> dict[str, tf.Tensor]:
        outputs = [tf.nn.relu(expert(vectors, training=training)) for expert in self.experts]
        outputs = tf.stack(outputs, -2)
        # In 32 bits, since a softmax in 16 bits loses small shares.
        shares = {
            task: tf.nn.softmax(tf.cast(gate(vectors), tf.float32))
            for task, gate in self.gates.items()
        }
        return {
            task: tf.reduce_sum(outputs * tf.cast(share, outputs.dtype)[..., None], -2)
            for task, share in shares.items()
        }
