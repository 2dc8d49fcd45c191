"""Fusion by gates: every item decides how much of each modality it lets through."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.fusion.pooled import Pooled, sum_of


class Gated(Pooled):
    """Vectors [B, L, F] around a sum of a candidate's transformed tokens, each behind a gate.

    With tokens x_1 … x_K of one candidate: h_k = tanh(W_k x_k + b_k),
    z_k = sigmoid(V_k [x_1, …, x_K] + c_k), and the result is the sum of z_k · h_k, elementwise.

    Masking: an absent token stands as zeros in what the gates see and is left out of the sum.

    Source: Arevalo et al. 2017, "Gated multimodal units for information fusion", the unit for k
    modalities; biases added.
    """

    def build(self, input_shape: Any) -> None:
        _, _, count, width = input_shape[0]
        self.transform = tf.keras.layers.EinsumDense(
            "blkd,kde->blke", (None, count, width), "tanh", bias_axes="ke", name="transform"
        )
        self.gate = tf.keras.layers.Dense(count * width, "sigmoid", name="gate")
        super().build(input_shape)

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        count, width = tokens.shape[2:]
        shown = tf.where(visible[..., None], tokens, tf.zeros([], tokens.dtype))
        shape = tf.shape(tokens)
        together = tf.reshape(shown, [shape[0], shape[1], count * width])
        gates = tf.reshape(self.gate(together), shape)
        return sum_of(gates * self.transform(shown), visible)
