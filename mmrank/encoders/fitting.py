"""Fits photos to the size that a tower takes: by padding, cropping or stretching."""

from __future__ import annotations

import tensorflow as tf

PAD, CROP, STRETCH = "pad", "crop", "stretch"
FITS = (PAD, CROP, STRETCH)
# Methods of `tf.image.resize`, each with the `ScaleAndTranslate` kernel that gives equal results.
INTERPOLATIONS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos3": "lanczos3"}


def fitted(
    pixels: tf.Tensor, height: int, width: int, fit: str = PAD, interpolation: str = "bilinear"
) -> tf.Tensor:
    """Returns a photo resized to [height, width, 3] uint8.

    Args:
      pixels: [H, W, 3] uint8.
      height, width: Size of the result.
      fit: `pad` scales the photo to fit and fills the rest with white, the usual background of
        product photos; `crop` scales it to fill the size and takes the middle; `stretch` changes
        its proportions.
      interpolation: One of `INTERPOLATIONS`. When the photo shrinks, its filter is widened, as in
        Pillow.

    Example:
      A black photo, twice as wide as high, with white above and below:

      >>> import tensorflow as tf
      >>> fitted(tf.zeros([2, 4, 3], tf.uint8), 4, 4)[:, 0, 0].numpy().tolist()
      [255, 0, 0, 255]
      >>> fitted(tf.zeros([2, 4, 3], tf.uint8), 4, 4, fit="stretch")[:, 0, 0].numpy().tolist()
      [0, 0, 0, 0]
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
    # Padding adds zeros, so shift the values to make white zero meanwhile.
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
    # Compute the middle only: a one-row photo, scaled as a whole, would not fit into memory.
    made = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=[height, width],
        scale=tf.cast(whole, tf.float32) / tf.cast(tf.stack([tall, wide]), tf.float32),
        translation=-tf.cast(outside, tf.float32),
        kernel_type=INTERPOLATIONS[interpolation],
        antialias=True,
    )
    return tf.ensure_shape(made[0], [height, width, 3])
