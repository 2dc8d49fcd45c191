"""A variational autoencoder of sparse rows for the multinomial likelihood (Mult-VAE)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.pretrain.likelihood import gaussian_kl


class VariationalAutoencoder(tf.keras.Model):
    """Logits [B, V] of rows [B, V]; `encode` returns the means [B, D] of their codes.

    A row's code is a normal distribution, from which training draws. β times its divergence from
    the standard normal distribution is added to the loss. β rises from 0 to its bound, so that
    codes become informative before they are regularised. The decoder is linear: a column's weights
    in it are the column's own vector.

    Args:
      width: D.
      hidden: Width of the layer between row and code.
      dropout: Share of the row hidden in training.
      beta: The bound of β.
      anneal_steps: Steps after which β reaches its bound.

    Source: Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative
      filtering" (Mult-VAE, its regularised bound and the annealing of β).

    Example:
      >>> import tensorflow as tf
      >>> model = VariationalAutoencoder(4)
      >>> rows = tf.constant([[1.0, 0.0, 2.0]])
      >>> model(rows).shape, model.encode(rows).shape
      (TensorShape([1, 3]), TensorShape([1, 4]))
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int = 256,
        dropout: float = 0.5,
        beta: float = 0.2,
        anneal_steps: int = 1000,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.width, self.beta, self.anneal_steps = width, beta, anneal_steps
        self.drop = tf.keras.layers.Dropout(dropout)
        self.hidden = tf.keras.layers.Dense(hidden, activation="tanh")
        self.mean = tf.keras.layers.Dense(width)
        self.log_variance = tf.keras.layers.Dense(width)
        self.steps = tf.Variable(0.0, trainable=False, name="steps")
        self.decoder: tf.keras.layers.Dense | None = None

    def build(self, input_shape: Any) -> None:
        self.decoder = tf.keras.layers.Dense(input_shape[-1], name="decoder")
        super().build(input_shape)

    def call(self, rows: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        mean, log_variance = self.posterior(rows, training)
        code = mean
        if training:
            code += tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
            beta = self.beta * tf.minimum(self.steps / max(self.anneal_steps, 1), 1.0)
            self.add_loss(beta * tf.reduce_mean(gaussian_kl(mean, log_variance)))
            self.steps.assign_add(1.0)
        assert self.decoder is not None
        return self.decoder(code)

    def posterior(
        self, rows: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Means and logarithms of the variances [B, D] of the codes of rows [B, V]."""
        scaled = tf.math.l2_normalize(rows, axis=-1)
        hidden = self.hidden(self.drop(scaled, training=training))
        return self.mean(hidden), self.log_variance(hidden)

    def encode(self, rows: tf.Tensor) -> tf.Tensor:
        """The codes' means [B, D] of rows [B, V]."""
        return self.posterior(rows, training=False)[0]
