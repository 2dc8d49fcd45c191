"""Rescores the best of a list; the others follow below in the order that they had."""

from __future__ import annotations

import tensorflow as tf


def best(scores: tf.Tensor, mask: tf.Tensor, count: int) -> tf.Tensor:
    """Whether a candidate is among the best of its list, [B, L] bool.

    All candidates that tie with the last of the best are among them, so that only scores decide.
    There may then be more than `count`.

    Args:
      scores: [B, L] float32.
      mask: [B, L] bool; padding is never among the best.
      count: How many are wanted.

    Example:
      >>> import tensorflow as tf
      >>> scores = tf.constant([[3.0, 1.0, 2.0, 9.0]])
      >>> mask = tf.constant([[True, True, True, False]])
      >>> best(scores, mask, count=2).numpy().tolist()
      [[True, False, True, False]]
    """
    real = tf.where(mask, scores, scores.dtype.min)
    last = tf.sort(real, axis=-1, direction="DESCENDING")[:, :count][:, -1:]
    return mask & (real >= last)


def rescored(first: tf.Tensor, second: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Scores [B, L]: `second` for the chosen, below them the others in order of their first score.

    The others keep their first scores where these are below those of all chosen; otherwise all
    others are lowered by the same amount, as far as needed.

    Args:
      first: First scores [B, L]; those of the others are below those of all chosen.
      second: New scores [B, L].
      chosen: [B, L] bool.

    Example:
      The new scores of the chosen are 0 and 5, so that the other candidate is lowered by 2:

      >>> import tensorflow as tf
      >>> first, again = tf.constant([[3.0, 1.0, 2.0]]), tf.constant([[0.0, 7.0, 5.0]])
      >>> rescored(first, again, tf.constant([[True, False, True]])).numpy().tolist()
      [[0.0, -1.0, 5.0]]
    """
    worst = first.dtype.max
    was = tf.reduce_min(tf.where(chosen, first, worst), -1, keepdims=True)
    now = tf.reduce_min(tf.where(chosen, second, worst), -1, keepdims=True)
    # In this order of operations, rounding never lifts the others above the worst chosen score.
    others = tf.where(now < was, (first - was) + now, first)
    return tf.where(chosen, second, others)
