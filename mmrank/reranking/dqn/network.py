"""The values of all moves on a page, by attention among its candidates."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from mmrank.reranking.dqn.attention import AttentionBlock

__all__ = ["CLOSED", "QNetwork"]

CLOSED = -1e9  # the value of an action that is not open


class QNetwork(tf.keras.Model):
    """Values [B, k] of the actions on pages of any k: to finish, or to swap two neighbours.

    The candidates attend to one another, with no code for their position but the features `rank`
    and `displaced`. A swap is valued from the vectors of the two candidates, the upper one first;
    finishing, and the value of the page itself, from the mean over all. As a dueling network has
    it, a value is that of the page plus the action's advantage over the mean of the open actions.

    Masking: padding gets no attention and is left out of the mean; actions that are not open have
    the value `CLOSED`.

    Args:
      width, heads, layers: As in `DQNOptions`.

    Source: Mnih et al., "Human-level control through deep reinforcement learning" (Nature 518,
      2015); Wang et al., "Dueling network architectures for deep reinforcement learning"
      (ICML 2016), equation 9.

    Example:
      >>> import tensorflow as tf
      >>> network = QNetwork(width=8, heads=2, layers=1)
      >>> mask = tf.constant([[1, 1, 0]])
      >>> values = network(
      ...     {
      ...         "candidates": tf.ones([1, 3, 5]),
      ...         "mask": mask,
      ...         "actions": mask,
      ...         "moves": tf.ones([1, 1]),
      ...     }
      ... )
      >>> values.shape, bool(values[0, 2] == CLOSED)
      (TensorShape([1, 3]), True)
    """

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        dtype = self.dtype
        self.entry = tf.keras.layers.Dense(width, name="entry", dtype=dtype)
        self.blocks = [
            AttentionBlock(width, heads, name=f"block_{i}", dtype=dtype) for i in range(layers)
        ]
        # In float32, and 1e-5: with 1e-3 Keras runs it as a fused kernel that threads share.
        self.normed = tf.keras.layers.LayerNormalization(epsilon=1e-5, name="normed", dtype=dtype)
        self.swap = _head(width, "swap", dtype)
        self.finish = _head(width, "finish", dtype)
        self.value = _head(width, "value", dtype)

    def call(self, inputs: dict[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: observations of `RerankEnv`, batched."""
        mask = tf.cast(inputs["mask"], tf.bool)
        batch, size = tf.unstack(tf.shape(mask))
        moves = tf.broadcast_to(inputs["moves"][:, tf.newaxis], [batch, size, 1])
        # Dense layers get the candidates of all pages as rows: on three dimensions each would
        # bring a dozen ops that move no number, and small pages take as long as there are ops.
        seen = tf.concat([inputs["candidates"], moves], -1)
        x = self.entry(tf.reshape(seen, [-1, seen.shape[-1]]))
        for block in self.blocks:
            x = block(x, mask)
        x = self.normed(x)
        width = x.shape[-1]
        x = tf.reshape(x, [batch, size, width])
        weight = tf.cast(mask, x.dtype)[..., tf.newaxis]
        count = tf.maximum(tf.reduce_sum(weight, 1), 1.0)
        mean = tf.reduce_sum(x * weight, 1) / count
        page = tf.concat([mean, inputs["moves"]], -1)
        pairs = tf.reshape(tf.concat([x[:, :-1], x[:, 1:]], -1), [-1, 2 * width])
        swaps = tf.reshape(self.swap(pairs), [batch, size - 1])
        advantage = tf.concat([self.finish(page), swaps], -1)
        opened = tf.cast(inputs["actions"], x.dtype)
        usual = tf.reduce_sum(advantage * opened, -1, keepdims=True) / tf.maximum(
            tf.reduce_sum(opened, -1, keepdims=True), 1.0
        )
        return tf.where(opened > 0, self.value(page) + advantage - usual, CLOSED)


def _head(width: int, name: str, dtype: str) -> tf.keras.Sequential:
    """A head whose values begin at zero: rewards are small next to those of random weights."""
    dense = functools.partial(tf.keras.layers.Dense, dtype=dtype)
    return tf.keras.Sequential(
        [dense(width, activation="gelu"), dense(1, kernel_initializer="zeros")], name=name
    )
