"""The terms of the loss of autoencoders of sparse rows."""

from __future__ import annotations

import tensorflow as tf


def multinomial_log_likelihood(rows: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Σ_i x_i log π_i of each row, π = softmax(logits), [B] float32.

    The multinomial coefficient is left out, since it does not depend on the weights.

    Args:
      rows: Counts or other weights of at least 0, [B, V].
      logits: [B, V].

    Source: Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative
      filtering", equation 2.

    Example:
      >>> from math import log
      >>> import tensorflow as tf
      >>> value = multinomial_log_likelihood(tf.constant([[1.0, 1.0]]), tf.zeros([1, 2]))
      >>> abs(float(value[0]) - 2 * log(1 / 2)) < 1e-6
      True
    """
    return tf.reduce_sum(rows * tf.nn.log_softmax(tf.cast(logits, tf.float32), axis=-1), axis=-1)


def gaussian_kl(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)) of each row, [B] float32.

    Args:
      mean, log_variance: [B, D].

    Source: Kingma and Welling 2014, appendix B.

    Example:
      >>> import tensorflow as tf
      >>> gaussian_kl(tf.constant([[0.0], [1.0]]), tf.zeros([2, 1])).numpy().tolist()
      [0.0, 0.5]
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return 0.5 * tf.reduce_sum(terms, axis=-1)
