"""The base of pooling fusions: many tokens → one, which is compared with query and user."""

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
        """One token [B, L, D] for each candidate.

        Args:
          tokens: [B, L, K, D].
          visible: [B, L, K] bool, at least one True per candidate; other tokens must not count.
          training: Whether dropout is on.
        """


def mean_of(tokens: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
    """The mean [B, L, D] of the visible tokens.

    Example:
      >>> import tensorflow as tf
      >>> tokens = tf.constant([[[[1.0, 2.0], [3.0, 6.0]]]])
      >>> mean_of(tokens, tf.constant([[[True, True]]])).numpy().tolist()
      [[[2.0, 4.0]]]
      >>> mean_of(tokens, tf.constant([[[True, False]]])).numpy().tolist()
      [[[1.0, 2.0]]]
    """
    count = tf.reduce_sum(tf.cast(visible, tokens.dtype), -1, keepdims=True)
    return sum_of(tokens, visible) / count


def sum_of(tokens: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
    """The sum [B, L, D] of the visible tokens.

    Example:
      >>> import tensorflow as tf
      >>> tokens = tf.constant([[[[1.0, 2.0], [3.0, 6.0]]]])
      >>> sum_of(tokens, tf.constant([[[True, True]]])).numpy().tolist()
      [[[4.0, 8.0]]]
    """
    return tf.reduce_sum(tf.where(visible[..., None], tokens, tf.zeros([], tokens.dtype)), 2)
