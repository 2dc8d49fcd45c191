"""Scaled numbers as several codes each: bins, waves, and a separate dense layer per number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.encoders.periodic import Periodic
from mmrank.encoders.piecewise import PiecewiseLinear, quantile_edges
from mmrank.encoders.scaled import Scaled, ScalingOptions
from mmrank.ranges import Positive, Whole


@dataclasses.dataclass(frozen=True)
class CodeOptions(ScalingOptions):
    """Options of the codes that replace each scaled number.

    Attributes:
      bins: Encode each number as the filled shares of this many bins at quantiles of the training
        values; 0 for none. A function that is linear in the shares may bend at every edge.
      periodic: Encode each number as the sine and the cosine at this many learned frequencies; 0
        for none. With bins too, both codes are concatenated.
      frequency: Deviation of the initial frequencies.
      embed: Width of a separate dense layer with ReLU for each number, over its codes or, without
        codes, over the number; 0 for none.
    """

    bins: Whole = 0
    periodic: Whole = 0
    frequency: Positive = 1.0
    embed: Whole = 0

    @property
    def codes(self) -> dict[str, Any]:
        """The arguments of `NumberCodes`, except the edges of the bins."""
        return {"periodic": self.periodic, "frequency": self.frequency, "embed": self.embed}


def bin_edges(table: np.ndarray, bins: int, scale: Scaled) -> list[list[float]]:
    """Returns the bin edges of each of K' scaled numbers: distinct quantiles, ascending.

    Args:
      table: Values [N, K], N at least 1, not scaled.
      bins: Number of bins of each.
      scale: The scaling from K numbers to K'.
    """
    return [np.unique(column).tolist() for column in scale(quantile_edges(table, bins)).numpy().T]


def number_codes(
    edges: Sequence[Sequence[float]], codes: Mapping[str, Any] | None
) -> NumberCodes | None:
    """Returns the layer that computes the codes; None if numbers stay as they are.

    Args:
      edges: Edges of bins; empty for no bins.
      codes: As `CodeOptions.codes` returns them.
    """
    wanted = dict(codes or {})
    if not (edges or wanted.get("periodic") or wanted.get("embed")):
        return None
    return NumberCodes(edges, **wanted, name="codes")


class NumberCodes(tf.keras.layers.Layer):
    """Codes [N, K F] float32 of scaled numbers [N, K], those of the first number first.

    Args:
      edges: Edges of the bins of each number, as `bin_edges` returns them; empty for no bins.
      periodic: Number of frequencies per number; 0 for none.
      frequency: Deviation of the initial frequencies.
      embed: Width of the separate dense layer of each number; 0 for none.

    Example:
      >>> import tensorflow as tf
      >>> NumberCodes([[0.0, 1.0, 3.0]])(tf.constant([[2.0]])).numpy().tolist()
      [[1.0, 0.5]]
      >>> NumberCodes(periodic=3, embed=4)(tf.zeros([5, 2])).shape  # 2 numbers of width 4
      TensorShape([5, 8])
    """

    def __init__(
        self,
        edges: Sequence[Sequence[float]] = (),
        periodic: int = 0,
        frequency: float = 1.0,
        embed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.arguments = {
            "edges": [list(e) for e in edges],
            "periodic": periodic,
            "frequency": frequency,
            "embed": embed,
        }
        self.parts: list[tf.keras.layers.Layer] = []
        if edges:
            self.parts.append(PiecewiseLinear(edges, name="bins"))
        if periodic:
            self.parts.append(Periodic(periodic, frequency, name="periodic"))
        self.own = OwnDense(embed, name="own") if embed else None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        codes = inputs[..., None]
        if self.parts:
            codes = tf.concat([part(inputs) for part in self.parts], -1)
        if self.own is not None:
            codes = tf.nn.relu(self.own(codes))
        return tf.reshape(codes, [-1, codes.shape[1] * codes.shape[2]])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


class OwnDense(tf.keras.layers.Layer):
    """Values [N, K, E] of codes [N, K, F]: a dense layer for each of K numbers.

    Args:
      width: E.

    Source: Gorishniy et al. 2022, section 3.4, the layers "L" and, behind it, "R".
    """

    def __init__(self, width: int, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.width = width

    def build(self, input_shape: Any) -> None:
        numbers, codes = int(input_shape[-2]), int(input_shape[-1])
        # Keras would count the numbers in the fan and make all initial weights too small.
        self.kernel = self.add_weight(
            "kernel",
            [numbers, codes, self.width],
            initializer=tf.keras.initializers.RandomNormal(stddev=(2.0 / codes) ** 0.5),
        )
        # Not zero: without other codes, all units would bend at the same value.
        bound = codes**-0.5
        self.bias = self.add_weight(
            "bias",
            [numbers, self.width],
            initializer=tf.keras.initializers.RandomUniform(-bound, bound),
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.einsum("nkf,kfe->nke", inputs, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width}
