"""Several scoring towers side by side: an ensemble of seeds that is trained and served as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class MemberTower(tf.keras.layers.Layer):
    """Scores [B, L, K] float32 of candidate vectors [B, L, F], one of each of K members.

    Each member has weights and dropout of its own, so that nothing but the vectors is common to
    them. Trained on the mean of their losses, not on the loss of their mean, members differ as
    networks of several seeds do, and the mean of their scores is better than any of them.

    Args:
      members: K, at least 1.
      hidden: Widths of the hidden layers of each.
      dropout: Share of units dropped in training.

    Source: deep ensembles: Lakshminarayanan et al. 2017; in one network under the mean of the
    members' losses: Gorishniy et al. 2025, "TabM", section 3 (there the packed ensemble, which
    shares no weights).
    """

    def __init__(self, members: int, hidden: Sequence[int], dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.arguments = {"members": members, "hidden": tuple(hidden), "dropout": dropout}
        self.hidden = [
            MemberDense(members, width, name=f"hidden_{i}") for i, width in enumerate(hidden)
        ]
        self.drops = [tf.keras.layers.Dropout(dropout) for _ in hidden]
        self.last = MemberDense(members, 1, name="member_scores")

    def build(self, input_shape: Any) -> None:
        # The random generators must be there before training, to be seeded at every epoch.
        for drop in self.drops:
            drop.build(None)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        shape = tf.shape(inputs)
        count = self.arguments["members"]
        rows = tf.reshape(inputs, [1, -1, inputs.shape[-1]])
        rows = tf.tile(rows, [count, 1, 1])
        for dense, drop in zip(self.hidden, self.drops, strict=True):
            rows = drop(tf.nn.relu(dense(rows)), training=training)
        scores = tf.cast(tf.transpose(self.last(rows)[..., 0]), tf.float32)
        return tf.reshape(scores, [shape[0], shape[1], count])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


class MemberDense(tf.keras.layers.Layer):
    """Values [K, N, D'] of values [K, N, D]: a dense layer for each of K members.

    Args:
      members: K.
      units: D'.
    """

    def __init__(self, members: int, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.units = members, units

    def build(self, input_shape: Any) -> None:
        width = int(input_shape[-1])
        # Keras would take the members for a part of the fan, and start all too small.
        self.kernel = self.add_weight(
            "kernel",
            [self.members, width, self.units],
            initializer=tf.keras.initializers.RandomNormal(stddev=(2.0 / width) ** 0.5),
        )
        self.bias = self.add_weight("bias", [self.members, 1, self.units], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, self.compute_dtype)
        return tf.matmul(inputs, kernel) + tf.cast(self.bias, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"members": self.members, "units": self.units}


class MemberMean(tf.keras.layers.Layer):
    """Scores [B, L], the mean of those [B, L, K] of all members."""

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(inputs, -1)
