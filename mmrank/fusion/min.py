"""Fusion by the elementwise minimum of the present tokens."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion.pooled import Pooled


class Min(Pooled):
    """Vectors [B, L, F] around the smallest values among a candidate's present tokens.

    Example:
      >>> import tensorflow as tf
      >>> tokens = tf.constant([[[[1.0, 9.0], [3.0, 6.0]]]])
      >>> Min().pool(tokens, tf.constant([[[True, True]]]), training=False).numpy().tolist()
      [[[1.0, 6.0]]]
    """

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        return tf.reduce_min(tf.where(visible[..., None], tokens, tokens.dtype.max), 2)
