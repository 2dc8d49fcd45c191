"""Where values stand in a sorted table, by operations that TensorFlow Lite has too."""

from __future__ import annotations

import tensorflow as tf


def places(table: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The first place in the table that is not below a value, int32, of the shape of the values.

    A binary search, branch by branch: TensorFlow Lite has nothing for `tf.searchsorted`.

    Args:
      table: [N] float32 in rising order; its last is infinite, so that every value has a place.
      values: float32, of any shape.
    """
    last = table.shape[0] - 1
    at = tf.zeros_like(values, tf.int32)
    for bit in reversed(range(last.bit_length())):
        further = at + 2**bit
        below = tf.gather(table, tf.minimum(further - 1, last)) < values
        at = tf.where(below, further, at)
    return at
