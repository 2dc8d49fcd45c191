"""What autoencoders of sparse rows are trained on."""

from __future__ import annotations

import tensorflow as tf


def multinomial_log_likelihood(rows: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Σ_i x_i log π_i of each row, π = softmax(logits), [B] float32.

    The multinomial coefficient is left out: no weight changes it.

    Args:
      rows: Counts or other weights of at least 0, [B, V].
      logits: [B, V].

    Source: Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative
      filtering", equation 2.
    """
    return tf.reduce_sum(rows * tf.nn.log_softmax(tf.cast(logits, tf.float32), axis=-1), axis=-1)


def gaussian_kl(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)) of each row, [B] float32.

    Args:
      mean, log_variance: [B, D].

    Source: Kingma and Welling 2014, appendix B.
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return 0.5 * tf.reduce_sum(terms, axis=-1)
