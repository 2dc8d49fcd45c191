"""Numbers as sines and cosines of learned frequencies, which distinguish close values."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


class Periodic(tf.keras.layers.Layer):
    """Codes [N, K, 2 F] of numbers [N, K]: sin(2π c x) of F frequencies c, then their cosines.

    Each number has its own frequencies. They are learned, and weight decay does not apply to them.

    Args:
      count: F, at least 1.
      spread: Deviation of the normal distribution of the initial frequencies. Numbers have
        deviation 1, so a spread of 1 makes waves about as long as the numbers' distribution is
        wide.

    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning",
    section 3.3, equation 2.

    Example:
      >>> import tensorflow as tf
      >>> codes = Periodic(count=2, spread=1.0)(tf.zeros([1, 1]))
      >>> tf.abs(codes).numpy().tolist()  # sin 0 and cos 0 of two frequencies
      [[[0.0, 0.0, 1.0, 1.0]]]
    """

    def __init__(self, count: int, spread: float, **kwargs: Any):
        super().__init__(autocast=False, dtype=tf.float32, **kwargs)
        self.count, self.spread = count, spread

    def build(self, input_shape: Any) -> None:
        self.frequencies = self.add_weight(
            "frequencies",
            [int(input_shape[-1]), self.count],
            initializer=tf.keras.initializers.RandomNormal(stddev=self.spread),
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        turns = 2.0 * math.pi * self.frequencies * inputs[..., None]
        return tf.concat([tf.sin(turns), tf.cos(turns)], -1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count, "spread": self.spread}
