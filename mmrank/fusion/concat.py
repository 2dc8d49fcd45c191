"""Fusion by concatenation: all tokens side by side, with their interactions."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion import base


class Concat(base.Fusion):
    """Vectors [B, L, F] of every token, its products and similarities with query and shopper.

    Masking: interactions with an absent token or context are zero, and the presence flags are
    part of the result, so that zero can be told from absent.
    """

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        tokens, present, contexts, contexts_present = inputs
        return base.interactions(tokens, present, contexts, contexts_present, flags=present)
