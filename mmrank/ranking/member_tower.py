"""Several parallel scoring towers: an ensemble of seeds, trained and served as one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Towers(tf.keras.layers.Layer):
    """Scores [B, L, K] float32 of candidate vectors [B, L, F] by the hidden layers of K members.

    Args:
      layers: The hidden layers, from values [K, N, D] to [K, N, D'].
      arguments: What the subclass is made from, including `members`, K, and `dropout`.
      first: Gives each member its input [K, N, F] from rows [1, N, F]; None gives all the same.
    """

    def __init__(
        self,
        layers: Sequence[tf.keras.layers.Layer],
        arguments: dict[str, Any],
        first: tf.keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.arguments = arguments
        self.first = first
        self.hidden = list(layers)
        self.drops = [tf.keras.layers.Dropout(arguments["dropout"]) for _ in layers]
        self.last = MemberDense(arguments["members"], 1, name="member_scores")

    def build(self, input_shape: Any) -> None:
        # The random generators must exist before training, to be seeded at every epoch.
        for drop in self.drops:
            drop.build(None)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        shape, count = tf.shape(inputs), self.arguments["members"]
        rows = tf.reshape(inputs, [1, -1, inputs.shape[-1]])
        rows = tf.tile(rows, [count, 1, 1]) if self.first is None else self.first(rows)
        for dense, drop in zip(self.hidden, self.drops, strict=True):
            rows = drop(tf.nn.relu(dense(rows)), training=training)
        scores = tf.cast(tf.transpose(self.last(rows)[..., 0]), tf.float32)
        return tf.reshape(scores, [shape[0], shape[1], count])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


class MemberTower(Towers):
    """Scores [B, L, K] float32 of candidate vectors [B, L, F], one from each of K members.

    Each member has its own weights and dropout; members share only the vectors. Trained on the mean
    of their losses, not on the loss of their mean, members differ as networks of several seeds do,
    and the mean of their scores is better than the scores of any member.

    Args:
      members: K, at least 1.
      hidden: Widths of the hidden layers of each member.
      dropout: Share of units dropped in training.

    Source: deep ensembles: Lakshminarayanan et al. 2017; in one network under the mean of the
    members' losses: Gorishniy et al. 2025, "TabM", section 3 (there the packed ensemble, which
    shares no weights).
    """

    def __init__(self, members: int, hidden: Sequence[int], dropout: float, **kwargs: Any):
        super().__init__(
            [MemberDense(members, width, name=f"hidden_{i}") for i, width in enumerate(hidden)],
            {"members": members, "hidden": tuple(hidden), "dropout": dropout},
            **kwargs,
        )


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
        # Keras would count the members as part of the fan, and initialise all weights too small.
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
    """Scores [B, L]: the mean of the members' scores [B, L, K]."""

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(inputs, -1)
