"""Labels for TF-Ranking; the only module that turns a mask into TF-Ranking's label −1."""

from __future__ import annotations

import tensorflow as tf


def masked_labels(grades: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Labels [B, L] float32: the grades of real candidates, −1 for padding.

    Args:
      grades: [B, L], at least 0 for real candidates.
      mask: [B, L] bool, True for real candidates.

    Example:
      >>> import tensorflow as tf
      >>> masked_labels(tf.constant([[2.0, 0.0, 0.0]]), tf.constant([[True, True, False]])).numpy()
      array([[ 2.,  0., -1.]], dtype=float32)
    """
    return tf.where(mask, tf.cast(grades, tf.float32), -1.0)


def task_labels(
    values: tf.Tensor,
    mask: tf.Tensor,
    among: tf.Tensor | None = None,
    *,
    log: bool = False,
    binary: bool = False,
) -> tf.Tensor:
    """Labels [B, L] float32 of one task, −1 for candidates that do not take part.

    Args:
      values: [B, L], at least 0; NaN where unknown, which does not take part.
      mask: [B, L] bool, True for real candidates.
      among: [B, L]; only candidates where it is above 0 take part. None for all.
      log: Take the natural logarithm of 1 plus the value.
      binary: Take 1 for values above 0.

    Example:
      Of two products that were bought, one is unknown, and the last slot is padding:

      >>> import tensorflow as tf
      >>> values, mask = tf.constant([[3.0, float("nan"), 1.0]]), tf.constant([[True, True, False]])
      >>> task_labels(values, mask, binary=True).numpy()
      array([[ 1., -1., -1.]], dtype=float32)
    """
    part = mask & ~tf.math.is_nan(values)
    if among is not None:
        part &= among > 0  # False where `among` is unknown
    safe = tf.where(part, values, 0.0)
    if log:
        safe = tf.math.log1p(safe)
    if binary:
        safe = tf.cast(safe > 0, tf.float32)
    return masked_labels(safe, part)
