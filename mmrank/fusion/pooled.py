"""What the pooling fusions share: many tokens → one, and that one faces query and shopper."""

from __future__ import annotations

import abc

import tensorflow as tf

from mmrank.fusion import base


class Pooled(base.Fusion, abc.ABC):
    """Vectors [B, L, F] of the pooled token, its products and similarities with each context.

    Presence flags and contexts follow, as in `base.interactions`.

    Masking: only present tokens are pooled. A candidate with none present pools the learned
    embeddings of absence, and its interactions are zero.
    """

    def call(self, inputs: tuple[tf.Tensor, ...], training: bool | None = None) -> tf.Tensor:
        tokens, present, contexts, contexts_present = inputs
        one = self.pool(tokens, base.visible(present), training)[:, :, None, :]
        known = tf.reduce_any(present, -1, keepdims=True)
        return base.interactions(one, known, contexts, contexts_present, flags=present)

    @abc.abstractmethod
    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        """One token [B, L, D] of each candidate's.

        Args:
          tokens: [B, L, K, D].
          visible: [B, L, K] bool, at least one of each candidate's; the others must not count.
          training: Whether dropout is on.
        """


def mean_of(tokens: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
    """The mean [B, L, D] of the visible tokens."""
    count = tf.reduce_sum(tf.cast(visible, tokens.dtype), -1, keepdims=True)
    return sum_of(tokens, visible) / count


def sum_of(tokens: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
    """The sum [B, L, D] of the visible tokens."""
    return tf.reduce_sum(tf.where(visible[..., None], tokens, tf.zeros([], tokens.dtype)), 2)
