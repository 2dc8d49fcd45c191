"""Fusion by the sum of the present tokens."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion.pooled import Pooled, sum_of


class Sum(Pooled):
    """Vectors [B, L, F] around the sum of a candidate's present tokens, over the root of K.

    K, the number of modalities, is the same for all candidates. A candidate with more present
    tokens therefore still has the longer vector, which a mean would hide. n unrelated tokens of
    unit variance sum to a variance of n / K, at most 1, however many modalities a model has.

    Example:
      Four tokens of ones, of which three are present; the root of 4 is 2:

      >>> import tensorflow as tf
      >>> tokens, visible = tf.ones([1, 1, 4, 2]), tf.constant([[[True, True, True, False]]])
      >>> Sum().pool(tokens, visible, training=False).numpy().tolist()
      [[[1.5, 1.5]]]
    """

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        return sum_of(tokens, visible) / tokens.shape[2] ** 0.5
