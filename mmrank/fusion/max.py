"""Fusion by the elementwise maximum of the present tokens."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion.pooled import Pooled


class Max(Pooled):
    """Vectors [B, L, F] around the largest values among a candidate's present tokens.

    Example:
      >>> import tensorflow as tf
      >>> tokens = tf.constant([[[[1.0, 9.0], [3.0, 6.0]]]])
      >>> Max().pool(tokens, tf.constant([[[True, True]]]), training=False).numpy().tolist()
      [[[3.0, 9.0]]]
    """

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        return tf.reduce_max(tf.where(visible[..., None], tokens, tokens.dtype.min), 2)
