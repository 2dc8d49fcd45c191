"""Fusion by concatenation: all tokens next to one another, with their interactions."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion import base


class Concat(base.Fusion):
    """Vectors [B, L, F] of every token, its products and similarities with query and user.

    Masking: interactions with an absent token or context are zero, and the presence flags are
    part of the result, so that zero and absent can be distinguished.

    Example:
      Two tokens and one context of width 2 give two tokens, two products, two similarities, two
      flags and the context:

      >>> import tensorflow as tf
      >>> tokens, present = tf.ones([1, 3, 2, 2]), tf.ones([1, 3, 2], tf.bool)
      >>> Concat()((tokens, present, tf.ones([1, 1, 2]), tf.constant([[True]]))).shape
      TensorShape([1, 3, 14])
    """

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        tokens, present, contexts, contexts_present = inputs
        return base.interactions(tokens, present, contexts, contexts_present, flags=present)
