"""Fusion by gates: a learned gate for each modality of each item scales its token."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.fusion.pooled import Pooled, sum_of


class Gated(Pooled):
    """Vectors [B, L, F] around a sum of a candidate's transformed tokens, each scaled by a gate.

    With tokens x_1 … x_K of one candidate: h_k = tanh(W_k x_k + b_k),
    z_k = sigmoid(V_k [x_1, …, x_K] + c_k), and the result is the sum of z_k · h_k, elementwise.

    Masking: the gates read zeros for an absent token, and the sum leaves it out.

    Source: Arevalo et al. 2017, "Gated multimodal units for information fusion", the unit for k
    modalities; biases added.

    Example:
      The pooled token, its product and similarity with the context, two flags and the context:

      >>> import tensorflow as tf
      >>> tokens, present = tf.ones([1, 3, 2, 4]), tf.ones([1, 3, 2], tf.bool)
      >>> Gated()((tokens, present, tf.ones([1, 1, 4]), tf.constant([[True]]))).shape
      TensorShape([1, 3, 15])
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
