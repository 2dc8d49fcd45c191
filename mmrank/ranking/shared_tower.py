"""Several scoring towers that share their weights and differ by adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking.member_tower import Towers


class SharedTower(Towers):
    """Scores [B, L, K] float32 of candidate vectors [B, L, F], one from each of K members.

    A hidden layer has one kernel for all members. Each member scales the layer's inputs number by
    number, and its outputs, and has its own bias: K towers have few more weights than one, and
    sharing keeps them from memorising the lists. The last layer is separate for each member. The
    adapters of the first layer begin as random signs, all others as ones, so that at first members
    differ only by the signs of their inputs and by their last layers. As with `MemberTower`, the
    loss is the mean of the members' losses, and each member has its own dropout.

    Args:
      members: K, at least 1.
      hidden: Widths of the hidden layers, at least one: without any there is nothing to share.
      dropout: Share of units dropped in training.
      first_alone: Whether the input adapter of the first layer is the only adapter.

    Raises:
      ValueError: `hidden` is empty.

    Source: Gorishniy et al. 2025, "TabM: Advancing tabular deep learning with parameter-efficient
    ensembling", section 3.3: TabM, and TabM-mini with `first_alone`; the layer is BatchEnsemble's:
    Wen et al. 2020, equation 4.
    """

    def __init__(
        self,
        members: int,
        hidden: Sequence[int],
        dropout: float,
        first_alone: bool = False,
        **kwargs: Any,
    ):
        if not hidden:
            raise ValueError("sharing: towers without a hidden layer have nothing to share")
        layers = [
            SharedDense(
                members, width, i > 0 and not first_alone, not first_alone, name=f"hidden_{i}"
            )
            for i, width in enumerate(hidden)
        ]
        arguments = {
            "members": members,
            "hidden": tuple(hidden),
            "dropout": dropout,
            "first_alone": first_alone,
        }
        first = MemberScale(members, signs=True, name="adapter_first")
        super().__init__(layers, arguments, first, **kwargs)


class SharedDense(tf.keras.layers.Layer):
    """Values [K, N, D'] of values [K, N, D]: one dense layer, which each of K members adapts.

    Args:
      members: K.
      units: D'.
      scales_in: Whether each member scales the inputs.
      scales_out: Whether each member scales the outputs and has its own bias.
    """

    def __init__(self, members: int, units: int, scales_in: bool, scales_out: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.arguments = {
            "members": members,
            "units": units,
            "scales_in": scales_in,
            "scales_out": scales_out,
        }
        self.scale_in = MemberScale(members, name="adapter_in") if scales_in else None
        self.scale_out = MemberScale(members, name="adapter_out") if scales_out else None

    def build(self, input_shape: Any) -> None:
        width, units = int(input_shape[-1]), self.arguments["units"]
        self.kernel = self.add_weight(
            "kernel",
            [width, units],
            initializer=tf.keras.initializers.RandomNormal(stddev=(2.0 / width) ** 0.5),
        )
        biases = self.arguments["members"] if self.arguments["scales_out"] else 1
        self.bias = self.add_weight("bias", [biases, 1, units], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = inputs if self.scale_in is None else self.scale_in(inputs)
        # As one matrix: a product of [K, N, D] and [D, D'] would copy the kernel for each member.
        flat = tf.reshape(rows, [-1, inputs.shape[-1]])
        flat = tf.matmul(flat, tf.cast(self.kernel, self.compute_dtype))
        rows = tf.reshape(flat, [self.arguments["members"], -1, self.arguments["units"]])
        rows = rows if self.scale_out is None else self.scale_out(rows)
        return rows + tf.cast(self.bias, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


class MemberScale(tf.keras.layers.Layer):
    """Values [K, N, D] of values [1, N, D] or [K, N, D], scaled separately by each of K members.

    Args:
      members: K.
      signs: Whether scales begin as random signs; they begin as ones otherwise.
    """

    def __init__(self, members: int, signs: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.signs = members, signs

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(
            "adapter",
            [self.members, 1, int(input_shape[-1])],
            initializer=_random_signs if self.signs else "ones",
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * tf.cast(self.scale, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"members": self.members, "signs": self.signs}


def _random_signs(shape: Sequence[int], dtype: tf.DType = tf.float32, **kwargs: Any) -> tf.Tensor:
    """Ones and minus ones, drawn with Keras' seed."""
    drawn = tf.keras.initializers.RandomUniform(-1.0, 1.0)(shape, dtype)
    return tf.where(drawn < 0, -tf.ones_like(drawn), tf.ones_like(drawn))
