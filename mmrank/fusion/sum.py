"""Fusion by the sum of the present tokens."""

from __future__ import annotations

import tensorflow as tf

from mmrank.fusion.pooled import Pooled, sum_of


class Sum(Pooled):
    """Vectors [B, L, F] around the sum of a candidate's present tokens, over the root of K.

    K, the number of modalities, is the same for all candidates: one with more present still has
    the longer vector, which the mean hides, but n unrelated tokens of unit variance sum to a
    variance of n / K, at most 1, however many modalities a model has.
    """

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        return sum_of(tokens, visible) / tokens.shape[2] ** 0.5
