"""Photos brought to the pixels that a tower sees: padded, cropped or stretched."""

from __future__ import annotations

import tensorflow as tf

PAD, CROP, STRETCH = "pad", "crop", "stretch"
FITS = (PAD, CROP, STRETCH)
# Names of `tf.image.resize`, and of the filter that makes the same of a part of a photo.
INTERPOLATIONS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos3": "lanczos3"}


def fitted(
    pixels: tf.Tensor, height: int, width: int, fit: str = PAD, interpolation: str = "bilinear"
) -> tf.Tensor:
    """A photo of another size, [height, width, 3] uint8.

    Args:
      pixels: [H, W, 3] uint8.
      height, width: Wanted.
      fit: `pad`: scaled to fit and the rest white, as shops photograph; `crop`: scaled until it
        fills, and the middle taken; `stretch`: to other proportions.
      interpolation: One of `INTERPOLATIONS`; each filter is widened where the photo shrinks, as
        Pillow does.
    """
    if fit == CROP:
        made = _cropped(pixels, height, width, interpolation)
    elif fit == STRETCH:
        made = tf.image.resize(pixels, [height, width], interpolation, antialias=True)
    else:
        made = _padded(pixels, height, width, interpolation)
    return tf.cast(tf.clip_by_value(tf.round(made), 0, 255), tf.uint8)


def _padded(pixels: tf.Tensor, height: int, width: int, interpolation: str) -> tf.Tensor:
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    scaled = tf.clip_by_value(tf.cast(tf.round(shape * scale), tf.int32), [1, 1], [height, width])
    resized = tf.image.resize(pixels, scaled, interpolation, antialias=True)
    # Padding adds zeros; white is taken for zero meanwhile.
    padded = tf.image.pad_to_bounding_box(
        resized - 255.0, (height - scaled[0]) // 2, (width - scaled[1]) // 2, height, width
    )
    return padded + 255.0


def _cropped(pixels: tf.Tensor, height: int, width: int, interpolation: str) -> tf.Tensor:
    tall, wide = tf.unstack(tf.cast(tf.shape(pixels)[:2], tf.int64))
    whole = tf.stack(
        [tf.maximum(tall * width // wide, height), tf.maximum(wide * height // tall, width)]
    )
    outside = (whole - [height, width]) // 2
    # The middle alone is made: all of a photo of one row would not fit into memory.
    made = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=[height, width],
        scale=tf.cast(whole, tf.float32) / tf.cast(tf.stack([tall, wide]), tf.float32),
        translation=-tf.cast(outside, tf.float32),
        kernel_type=INTERPOLATIONS[interpolation],
        antialias=True,
    )
    return tf.ensure_shape(made[0], [height, width, 3])
