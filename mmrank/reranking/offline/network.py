"""The values of all moves on a page from what each position of the page after it would earn."""

from __future__ import annotations

from typing import Any

import keras_nlp
import tensorflow as tf

from mmrank.reranking.dqn.network import CLOSED
from mmrank.reranking.moves import FINISH
from mmrank.reranking.observing import FEATURES, SHIFT
from mmrank.reranking.offline.options import OfflineOptions

__all__ = ["PageNetwork", "after_each", "network_of"]

_ALIKE, _RANK, _DISPLACED = (FEATURES.index(n) for n in ("alike", "rank", "displaced"))


def after_each(candidates: tf.Tensor) -> tf.Tensor:
    """Returns the candidates as observed after each action, [B, k, k, features].

    Args:
      candidates: Those of observations of `RerankEnv`, [B, k, features].

    Example:
      >>> import tensorflow as tf
      >>> page = tf.reshape(tf.range(22.0), [1, 2, 11])
      >>> after_each(page)[0, :, :, 0].numpy().tolist()  # to finish, and to swap
      [[0.0, 11.0], [11.0, 0.0]]
    """
    position = tf.range(tf.shape(candidates)[1])
    action = position[:, tf.newaxis]
    lower = (position == action) & (action != FINISH)
    shift = tf.cast(position == action - 1, tf.int32) - tf.cast(lower, tf.int32)
    after = tf.gather(candidates, position + shift, axis=1)
    vector = after[..., len(FEATURES) :]
    cosine = tf.nn.relu(tf.matmul(vector, vector, transpose_b=True))
    above = tf.linalg.band_part(cosine, -1, 0) - tf.linalg.band_part(cosine, 0, 0)
    columns = tf.unstack(after, axis=-1)
    columns[_ALIKE] = tf.reduce_sum(above, -1)
    columns[_RANK] = tf.broadcast_to(candidates[:, tf.newaxis, :, _RANK], tf.shape(after)[:-1])
    columns[_DISPLACED] += tf.cast(shift, after.dtype) / SHIFT
    return tf.stack(columns, -1)


class PageNetwork(tf.keras.Model):
    """Values [B, k] of the actions on pages of any k: to finish, or to swap two neighbours.

    What a move does to a page is known, so that only the worth of pages has to be learned, and
    every logged page teaches it. The value of an action is the sum of what each position of the
    page after it earns, and, if moves are left then, what further ones gain. A position depends on
    itself and on the positions above it, as users read from the top.

    Masking: padding earns nothing; actions that are not open have the value `CLOSED`.

    Args:
      most_moves: Moves of an episode; None for as many as any order of the page may need.
      width, heads, layers: As in `DQNOptions`.

    Source: Sutton and Barto, "Reinforcement learning: an introduction" (2nd edition, 2018),
      section 6.8, for values of the states after moves.

    Example:
      >>> import tensorflow as tf
      >>> network, mask = PageNetwork(1, width=8, heads=2, layers=1), tf.constant([[1, 1, 0]])
      >>> seen = {"mask": mask, "actions": mask, "moves": tf.ones([1, 1])}
      >>> values = network(seen | {"candidates": tf.ones([1, 3, 11])})
      >>> values.shape, bool(values[0, 2] == CLOSED)
      (TensorShape([1, 3]), True)
    """

    def __init__(
        self,
        most_moves: int | None,
        width: int = 32,
        heads: int = 4,
        layers: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._most = most_moves
        dense = tf.keras.layers.Dense
        self.entry = dense(width, name="entry")
        self.blocks = [
            keras_nlp.layers.TransformerDecoder(
                2 * width, heads, activation="gelu", normalize_first=True, name=f"block_{i}"
            )
            for i in range(layers)
        ]
        self.normed = tf.keras.layers.LayerNormalization(epsilon=1e-5, name="normed")
        self.earn = tf.keras.Sequential([dense(width, "gelu"), dense(1)], name="earn")
        zero = dense(1, kernel_initializer="zeros")
        self.further = tf.keras.Sequential([dense(width, "gelu"), zero], name="further")

    def call(self, inputs: dict[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: observations of `RerankEnv`, batched."""
        return self.parts(inputs, training)[0]

    def parts(
        self, inputs: dict[str, tf.Tensor], training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the values [B, k], and what each position earns after each action, [B, k, k]."""
        mask = tf.cast(inputs["mask"], tf.bool)
        size, after = tf.shape(mask)[1], after_each(inputs["candidates"])
        weight = tf.cast(tf.repeat(mask, size, axis=0), after.dtype)[..., tf.newaxis]
        x = self.entry(tf.reshape(after, [-1, size, after.shape[-1]]))
        for block in self.blocks:
            # Padding is below all candidates, and no position attends to those below it.
            x = block(x, training=training)
        x = self.normed(x)
        earned = tf.reshape(self.earn(x) * weight, [-1, size, size])
        page = tf.reduce_sum(x * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1.0)
        left, going = self._left_after(inputs)
        page = tf.concat([tf.reshape(page, [-1, size, x.shape[-1]]), left], -1)
        further = self.further(page)[..., 0]
        values = tf.reduce_sum(earned, -1) + tf.where(going, further, 0.0)
        return tf.where(tf.cast(inputs["actions"], tf.bool), values, CLOSED), earned

    def _left_after(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The share of moves left after each action [B, k, 1], and whether one is [B, k]."""
        length = tf.reduce_sum(tf.cast(inputs["mask"], tf.float32), -1, keepdims=True)
        pairs = tf.maximum(length * (length - 1) / 2, 1.0)
        moves = pairs if self._most is None else tf.fill(tf.shape(length), float(self._most))
        swap = tf.range(tf.shape(inputs["mask"])[1]) != FINISH
        left = tf.where(swap, inputs["moves"] - 1 / moves, 0.0)
        return left[..., tf.newaxis], left * moves > 0.5  # whole numbers, but for rounding


def network_of(learning: OfflineOptions, most_moves: int | None) -> PageNetwork:
    """The network of a training, without its weights.

    Args:
      learning: The options of the training.
      most_moves: Moves of an episode; None for as many as any order of the page may need.

    Example:
      >>> network_of(OfflineOptions(width=8), most_moves=1).name
      'page_network'
    """
    return PageNetwork(
        most_moves, learning.width, learning.heads, learning.layers, name="page_network"
    )
