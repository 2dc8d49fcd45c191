"""A denoising autoencoder of sparse rows for the multinomial likelihood (Mult-DAE)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class Autoencoder(tf.keras.Model):
    """Logits [B, V] of rows [B, V]; `encode` returns their codes [B, D].

    The row is scaled to length 1, parts of it are hidden in training, and a linear decoder must
    reconstruct the whole row from the code: a column's weights in it are the column's own vector.

    Args:
      width: D.
      hidden: Width of the layer between row and code.
      dropout: Share of the row hidden in training.

    Source: Liang, Krishnan, Hoffman and Jebara 2018 (Mult-DAE).

    Example:
      >>> import tensorflow as tf
      >>> model = Autoencoder(width=4, hidden=8)
      >>> rows = tf.constant([[1.0, 0.0, 2.0]])
      >>> model(rows).shape, model.encode(rows).shape
      (TensorShape([1, 3]), TensorShape([1, 4]))
    """

    def __init__(self, width: int, *, hidden: int = 256, dropout: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = width
        self.drop = tf.keras.layers.Dropout(dropout)
        self.hidden = tf.keras.layers.Dense(hidden, activation="tanh")
        self.code = tf.keras.layers.Dense(width, activation="tanh")
        self.decoder: tf.keras.layers.Dense | None = None

    def build(self, input_shape: Any) -> None:
        self.decoder = tf.keras.layers.Dense(input_shape[-1], name="decoder")
        super().build(input_shape)

    def call(self, rows: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        assert self.decoder is not None
        return self.decoder(self.encode(rows, training))

    def encode(self, rows: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The codes [B, D] of rows [B, V]."""
        scaled = tf.math.l2_normalize(rows, axis=-1)
        return self.code(self.hidden(self.drop(scaled, training=training)))
