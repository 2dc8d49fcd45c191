"""Numbers by their rank among the training values, so that scale and outliers do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

SPREAD = 3.0**0.5  # a uniform distribution between -SPREAD and SPREAD has variance 1


def quantile_knots(table: np.ndarray, count: int) -> list[list[float]]:
    """Returns the distinct quantiles of each of K columns, ascending; one for a constant column.

    Args:
      table: Values [N, K], N at least 1.
      count: Steps between the lowest and the highest value.

    Example:
      >>> import numpy as np
      >>> quantile_knots(np.array([[1.0], [2.0], [9.0]]), count=2)
      [[1.0, 2.0, 9.0]]
    """
    at = np.linspace(0.0, 1.0, count + 1)
    columns = table.astype(np.float32).T
    return [np.unique(np.quantile(c, at).astype(np.float32)).tolist() for c in columns]


class QuantileRanks(tf.keras.layers.Layer):
    """Ranks [N, K] of numbers [N, K], from −√3 at the lowest knot to √3 at the highest.

    Knots have evenly spaced ranks, and ranks between two knots are interpolated. A value that every
    second row has is a single knot, and the other values share the remaining knots. The rank is
    the sum of the piecewise linear encoding over its bins. A column of one knot has rank 0.

    Args:
      knots: K ascending sequences, as `quantile_knots` returns them.

    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning",
    section 3.2, equation 1, for bins at quantiles.

    Example:
      The middle knot has rank 0, and 2 is halfway between it and the highest knot, of rank √3:

      >>> import tensorflow as tf
      >>> layer = QuantileRanks([[0.0, 1.0, 3.0]])
      >>> ranks = layer(tf.constant([[1.0], [2.0], [9.0]])).numpy()[:, 0]
      >>> [round(float(rank), 4) for rank in ranks]
      [0.0, 0.866, 1.7321]
    """

    def __init__(self, knots: Sequence[Sequence[float]], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.knots = [list(k) for k in knots]
        # Pad the sequences to equal length with their last knot; no value lies between its copies.
        longest = max(2, *(len(k) for k in self.knots))
        ends = [k + [k[-1]] * (longest - len(k)) for k in self.knots]
        ranks = [
            np.minimum(np.arange(longest), len(k) - 1) * 2 * SPREAD / max(len(k) - 1, 1) - SPREAD
            if len(k) > 1
            else np.zeros(longest)
            for k in self.knots
        ]
        self._knots = np.array(ends, np.float32)
        self._ranks = np.array(ranks, np.float32)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        values = tf.transpose(tf.cast(inputs, tf.float32))
        knots, ranks = tf.constant(self._knots), tf.constant(self._ranks)
        after = tf.searchsorted(knots, values, side="right")
        first = tf.clip_by_value(after - 1, 0, knots.shape[1] - 2)
        low, high = (tf.gather(knots, first + i, batch_dims=1) for i in (0, 1))
        share = tf.clip_by_value(tf.math.divide_no_nan(values - low, high - low), 0.0, 1.0)
        begin, end = (tf.gather(ranks, first + i, batch_dims=1) for i in (0, 1))
        return tf.transpose(begin + share * (end - begin))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"knots": self.knots}
