"""Fusion by the mean of the present tokens."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion.pooled import Pooled, mean_of


class Mean(Pooled):
    """Vectors [B, L, F] around the mean of a candidate's present tokens.

    Example:
      >>> import tensorflow as tf
      >>> tokens = tf.constant([[[[1.0, 2.0], [3.0, 6.0]]]])
      >>> Mean().pool(tokens, tf.constant([[[True, True]]]), training=False).numpy().tolist()
      [[[2.0, 4.0]]]
    """

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        return mean_of(tokens, visible)
