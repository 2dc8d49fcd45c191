"""Indices of values in a sorted table, by operations that TensorFlow Lite has too."""

from __future__ import annotations

import tensorflow as tf


def indices_in(table: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The first index whose entry is not below a value, int32, of the shape of the values.

    The search is binary and written out step by step, since TensorFlow Lite has no equivalent of
    `tf.searchsorted`.

    Args:
      table: [N] float32 in rising order; its last entry is infinite, so that every value has an
        index.
      values: float32, of any shape.

    Example:
      >>> import tensorflow as tf
      >>> table = tf.constant([1.0, 3.0, float("inf")])
      >>> indices_in(table, tf.constant([0.0, 1.0, 2.0, 5.0])).numpy().tolist()
      [0, 0, 1, 2]
    """
    last = table.shape[0] - 1
    at = tf.zeros_like(values, tf.int32)
    for bit in reversed(range(last.bit_length())):
        further = at + 2**bit
        below = tf.gather(table, tf.minimum(further - 1, last)) < values
        at = tf.where(below, further, at)
    return at
