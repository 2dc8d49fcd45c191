"""A forest as TensorFlow ops, so that a SavedModel does not need a library of trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.trees.forest import Forest


class ForestScores(tf.keras.layers.Layer):
    """Scores [B, L] float32 of a forest over features [B, L, F]; finite for padding too.

    Every question is one comparison of a feature with a border over all candidates at once. The
    features are transposed for this, so that the values of one feature are adjacent.

    Args:
      forest: The trees. They are constants of the graph, not weights: checkpoints lack them.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> forest = Forest(
      ...     features=np.array([[0]], np.int32),
      ...     borders=np.array([[0.5]], np.float32),
      ...     leaves=np.array([[1.0, 3.0]], np.float32),
      ... )
      >>> ForestScores(forest)(tf.constant([[[0.2], [0.9]]])).numpy().tolist()
      [[1.0, 3.0]]
    """

    def __init__(self, forest: Forest, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.forest = forest

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Args: features [B, L, F] float32."""
        forest, shape = self.forest, tf.shape(inputs)
        trees, depth = forest.features.shape
        columns = tf.transpose(tf.reshape(inputs, [-1, inputs.shape[-1]]))  # [F, N]
        leaf = tf.zeros([trees, tf.shape(columns)[1]], tf.int32)
        for level in range(depth):
            asked = tf.gather(columns, forest.features[:, level])  # [T, N]
            above = asked > forest.borders[:, level, None]
            leaf += tf.cast(above, tf.int32) * (1 << level)
        first = (np.arange(trees, dtype=np.int32) << depth)[:, None]
        leaf_values = tf.gather(tf.constant(forest.leaves.reshape(-1)), leaf + first)  # [T, N]
        return tf.reshape(tf.reduce_sum(leaf_values, 0) + np.float32(forest.bias), shape[:2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"forest": self.forest.state()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ForestScores:
        """The layer that `get_config` describes."""
        config.pop("dtype", None)
        return cls(Forest.restored(config.pop("forest")), **config)
