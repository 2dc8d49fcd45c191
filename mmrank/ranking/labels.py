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


def task_labels(
    values: tf.Tensor,
    mask: tf.Tensor,
    among: tf.Tensor | None = None,
    *,
    log: bool = False,
    binary: bool = False,
) -> tf.Tensor:
    """Labels [B, L] float32 of one task, −1 for candidates that are no part of it.

    Args:
      values: [B, L], at least 0; NaN where unknown, which is no part of the task.
      mask: [B, L] bool, True for real candidates.
      among: [B, L]; only candidates where it is above 0 take part. None for all.
      log: Take the natural logarithm of 1 plus the value.
      binary: Take 1 for values above 0.
    """
    part = mask & ~tf.math.is_nan(values)
    if among is not None:
        part &= among > 0  # False where it is not known
    safe = tf.where(part, values, 0.0)
    if log:
        safe = tf.math.log1p(safe)
    if binary:
        safe = tf.cast(safe > 0, tf.float32)
    return masked_labels(safe, part)
