"""The best of a list scored once more, the others below them in the order that they had."""

from __future__ import annotations

import tensorflow as tf


def best(scores: tf.Tensor, mask: tf.Tensor, count: int) -> tf.Tensor:
    """Whether a candidate is among the best of its list, [B, L] bool.

    Candidates whose score is that of the last of them are all among them, so that nothing but
    scores decides; with equal scores there may then be more than `count`.

    Args:
      scores: [B, L] float32.
      mask: [B, L] bool; padding is never among them.
      count: How many are wanted.
    """
    real = tf.where(mask, scores, scores.dtype.min)
    last = tf.sort(real, axis=-1, direction="DESCENDING")[:, :count][:, -1:]
    return mask & (real >= last)


def rescored(first: tf.Tensor, again: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Scores [B, L]: `again` of those that are chosen, below them the others by their first score.

    What is not chosen keeps its first score where that is below all that is chosen; else all of
    these are lowered alike, as far as needed.

    Args:
      first: First scores [B, L]; whatever is not chosen has a lower one than what is.
      again: New scores [B, L].
      chosen: [B, L] bool.
    """
    worst = first.dtype.max
    was = tf.reduce_min(tf.where(chosen, first, worst), -1, keepdims=True)
    now = tf.reduce_min(tf.where(chosen, again, worst), -1, keepdims=True)
    # In this order: what was below the worst of the chosen is then never above it by rounding.
    others = tf.where(now < was, (first - was) + now, first)
    return tf.where(chosen, again, others)
