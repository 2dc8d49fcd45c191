"""Numbers by their place among those that training saw, so that no scale and no outlier matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

SPREAD = 3.0**0.5  # even places between plus and minus this have variance 1


def quantile_knots(table: np.ndarray, count: int) -> list[list[float]]:
    """The distinct quantiles of each of K columns, in rising order; one for a constant column.

    Args:
      table: Values [N, K], N at least 1.
      count: Steps between the lowest and the highest value.
    """
    at = np.linspace(0.0, 1.0, count + 1)
    columns = table.astype(np.float32).T
    return [np.unique(np.quantile(c, at).astype(np.float32)).tolist() for c in columns]


class QuantilePlaces(tf.keras.layers.Layer):
    """Places [N, K] of numbers [N, K], from −√3 at the lowest knot to √3 at the highest.

    Between two knots a place is interpolated, and knots lie evenly: a value that every second row
    has is one knot, and the others share the rest. This is the sum of the piecewise linear encoding
    over its bins. A column of one knot has place 0.

    Args:
      knots: K rising sequences, as `quantile_knots` gives them.

    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning",
    section 3.2, equation 1, for bins at quantiles.
    """

    def __init__(self, knots: Sequence[Sequence[float]], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.knots = [list(k) for k in knots]
        # As long as each other: the last knot once more, which nothing lies between.
        longest = max(2, *(len(k) for k in self.knots))
        ends = [k + [k[-1]] * (longest - len(k)) for k in self.knots]
        places = [
            np.minimum(np.arange(longest), len(k) - 1) * 2 * SPREAD / max(len(k) - 1, 1) - SPREAD
            if len(k) > 1
            else np.zeros(longest)
            for k in self.knots
        ]
        self._knots = np.array(ends, np.float32)
        self._places = np.array(places, np.float32)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        values = tf.transpose(tf.cast(inputs, tf.float32))
        knots, places = tf.constant(self._knots), tf.constant(self._places)
        after = tf.searchsorted(knots, values, side="right")
        first = tf.clip_by_value(after - 1, 0, knots.shape[1] - 2)
        low, high = (tf.gather(knots, first + i, batch_dims=1) for i in (0, 1))
        share = tf.clip_by_value(tf.math.divide_no_nan(values - low, high - low), 0.0, 1.0)
        begin, end = (tf.gather(places, first + i, batch_dims=1) for i in (0, 1))
        return tf.transpose(begin + share * (end - begin))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"knots": self.knots}
