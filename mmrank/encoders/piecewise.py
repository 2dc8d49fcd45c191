"""Numbers as the filled shares of several bins, so that a linear layer over them can bend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

STEEPEST = 1e30


def quantile_edges(table: np.ndarray, bins: int) -> np.ndarray:
    """Returns quantiles [bins + 1, K] float32 of K columns, from the lowest value to the highest.

    Args:
      table: Values [N, K], N at least 1.
      bins: Number of bins between the quantiles.

    Example:
      >>> import numpy as np
      >>> quantile_edges(np.array([[0.0], [1.0], [3.0]]), bins=2).tolist()
      [[0.0], [1.0], [3.0]]
    """
    at = np.linspace(0.0, 1.0, bins + 1)
    return np.quantile(table.astype(np.float32), at, axis=0).astype(np.float32)


class PiecewiseLinear(tf.keras.layers.Layer):
    """Codes [N, K, T] of numbers [N, K]: for each of T bins, the share of it below the number.

    A bin below the number has code 1, a bin above it 0. A number outside of all bins has the codes
    of the nearest end. In the paper, in contrast, the first and the last bin are unbounded; here a
    value far outside means no more than one just outside. Where a number has fewer than T bins, the
    rest of its codes are 0.

    Args:
      edges: The edges of the bins of each number, ascending; a single edge makes no bin.

    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning",
    section 3.2, equation 1, for bins at quantiles.

    Example:
      >>> import tensorflow as tf
      >>> PiecewiseLinear([[0.0, 1.0, 3.0]])(tf.constant([[0.5], [2.0], [9.0]])).numpy().tolist()
      [[[0.5, 0.0]], [[1.0, 0.5]], [[1.0, 1.0]]]
    """

    def __init__(self, edges: Sequence[Sequence[float]], **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.edges = [list(e) for e in edges]
        most = max(1, *(len(e) - 1 for e in self.edges))
        self._low = np.zeros([len(self.edges), most], np.float32)
        self._slope = np.zeros([len(self.edges), most], np.float32)  # 0 where there is no bin
        for k, own in enumerate(self.edges):
            self._low[k, : len(own) - 1] = own[:-1]
            # Bounded, because a bin of almost no width would give 0 · ∞ at its lower edge.
            self._slope[k, : len(own) - 1] = np.minimum(1.0 / np.diff(own), STEEPEST)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        above = inputs[..., None] - tf.constant(self._low)
        return tf.clip_by_value(above * tf.constant(self._slope), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"edges": self.edges}
