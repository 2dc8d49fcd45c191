"""The one place where a mask becomes TF-Ranking's label −1."""

from __future__ import annotations

import tensorflow as tf


def masked_labels(grades: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Labels [B, L] float32: the grades of real candidates, −1 for padding.

    Args:
      grades: [B, L], at least 0 for real candidates.
      mask: [B, L] bool, True for real candidates.
    """
    return tf.where(mask, tf.cast(grades, tf.float32), -1.0)
