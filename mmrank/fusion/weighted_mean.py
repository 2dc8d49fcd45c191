"""Fusion by a weighted mean of the present tokens, with one learned weight per modality."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.fusion.pooled import Pooled


class WeightedMean(Pooled):
    """Vectors [B, L, F] around a weighted mean of a candidate's present tokens.

    The weights are a softmax of one learned number per modality, over the present ones only. They
    start equal and are the same for all candidates: after training they show how much of the
    fused vector comes from each modality.

    Example:
      Before training, the weights are equal:

      >>> import tensorflow as tf
      >>> tokens, present = tf.constant([[[[1.0, 2.0], [3.0, 6.0]]]]), tf.constant([[[True, True]]])
      >>> vectors = WeightedMean()((tokens, present, tf.ones([1, 1, 2]), tf.constant([[True]])))
      >>> vectors[0, 0, :2].numpy().round(4).tolist()
      [2.0, 4.0]
    """

    def build(self, input_shape: Any) -> None:
        self.logits = self.add_weight("logits", [input_shape[0][2]], initializer="zeros")
        super().build(input_shape)

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        logits = tf.cast(self.logits, tokens.dtype)
        weights = tf.nn.softmax(tf.where(visible, logits, tokens.dtype.min), -1)[..., None]
        # An absent token's weight is zero, but zero times infinity is not.
        shown = tf.where(visible[..., None], tokens, tf.zeros([], tokens.dtype))
        return tf.reduce_sum(shown * weights, 2)
