"""Random changes of photos in training, so that a tower learns from few of them."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


class RandomPart(tf.keras.__internal__.layers.BaseRandomLayer):
    """Pixels [N, H, W, 3] of a random part of each photo in training; the whole photo otherwise.

    A part covers a random share of the area at a random position. Its proportions change by up to
    a third, and it is scaled to the size of the whole. One op does all of this: Keras's RandomZoom
    and RandomTranslation take ten times as long on a CPU.

    Args:
      smallest: The smallest share of the area, in (0, 1].

    Source: Szegedy et al. 2015, "Going deeper with convolutions", section 6.
    """

    def __init__(self, smallest: float, **kwargs: Any):
        # The op does not support bfloat16, and the tower casts its inputs.
        super().__init__(force_generator=True, autocast=False, **kwargs)
        self.smallest = smallest

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return inputs
        count = tf.shape(inputs)[0]
        area = self._random_generator.random_uniform([count], self.smallest, 1.0)
        widest = math.log(4 / 3)
        ratio = tf.exp(self._random_generator.random_uniform([count], -widest, widest))
        height = tf.minimum(tf.sqrt(area / ratio), 1.0)
        width = tf.minimum(tf.sqrt(area * ratio), 1.0)
        top = self._random_generator.random_uniform([count]) * (1.0 - height)
        left = self._random_generator.random_uniform([count]) * (1.0 - width)
        boxes = tf.stack([top, left, top + height, left + width], -1)
        parts = tf.image.crop_and_resize(inputs, boxes, tf.range(count), inputs.shape[1:3])
        return tf.ensure_shape(parts, inputs.shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"smallest": self.smallest}


def changes(
    *, flip: bool, smallest_part: float, brightness: float, contrast: float
) -> list[tf.keras.layers.Layer]:
    """Returns layers [N, H, W, 3] → [N, H, W, 3] that change pixels, 0 to 255, in training only.

    Args:
      flip: Mirror every second photo.
      smallest_part: Smallest share of the area, as in `RandomPart`; 1 shows the whole.
      brightness: Largest change of brightness, up or down, as a share of the full range.
      contrast: Largest change of contrast, up or down, as a share.
    """
    layers: list[tf.keras.layers.Layer] = []
    if flip:
        layers.append(tf.keras.layers.RandomFlip("horizontal"))
    if smallest_part < 1:
        layers.append(RandomPart(smallest_part))
    if brightness:
        layers.append(tf.keras.layers.RandomBrightness(brightness))
    if contrast:
        layers.append(tf.keras.layers.RandomContrast(contrast))
    return layers
