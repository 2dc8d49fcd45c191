"""Passes an image's bytes to the decoder only if the cost of decoding is bounded, in graph ops.

A few hundred bytes can declare four gigapixels. A decoder would allocate the memory for them before
it reads the first pixel. The graph cannot rely on checks of its caller, so it checks by itself.
"""

from __future__ import annotations

import tensorflow as tf

from mmrank.data.image_bounds import MAX_PIXELS, MAX_SCANS, SCAN
from mmrank.encoders.gif_walk import TOO_MANY, gif_pixels


def bounded(data: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Returns the bytes of an image file unchanged.

    Args:
      data: A file's bytes [].
      max_pixels: Bound on the pixels that its decoder would hold, over all frames of a GIF.

    Raises:
      InvalidArgumentError: At run time, if the file exceeds the bound, a JPEG has more than
        `MAX_SCANS` scans, or a GIF has more blocks than are examined. A file that is not an image
        passes; the decoder refuses it.
    """
    pixels = declared_pixels(data)
    words = f"an image of {{}} pixels is too large: the most is {max_pixels}"
    known = pixels < TOO_MANY
    small = tf.debugging.Assert((pixels <= max_pixels) | ~known, [tf.strings.format(words, pixels)])
    few = tf.debugging.Assert(known, ["a GIF of too many blocks is too costly"])
    words = f"a JPEG of {{}} scans is too costly: the most is {MAX_SCANS}"
    scans = _scans(data)
    quick = tf.debugging.Assert(scans <= MAX_SCANS, [tf.strings.format(words, scans)])
    with tf.control_dependencies([small, few, quick]):
        return tf.identity(data)


def declared_pixels(data: tf.Tensor) -> tf.Tensor:
    """Returns what `mmrank.data.image_bounds.declared_pixels` does, [] int64; 0 for a BMP.

    Returns `gif_walk.TOO_MANY` for a GIF of too many blocks.

    A decoded BMP is never larger than its file, because the decoder reads only uncompressed ones.
    """
    return tf.case(
        [
            (_begins(data, b"\xff\xd8\xff"), lambda: _jpeg(data)),
            (_begins(data, b"\x89PNG") & (tf.strings.length(data) >= 24), lambda: _png(data)),
            (_begins(data, b"GIF8"), lambda: gif_pixels(tf.io.decode_raw(data, tf.uint8))),
        ],
        default=lambda: tf.zeros([], tf.int64),
    )


def _begins(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    # `substr` returns fewer bytes if the file is shorter.
    return tf.strings.substr(data, 0, len(magic)) == magic


def _jpeg(data: tf.Tensor) -> tf.Tensor:
    shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
    return shape[0] * shape[1]


def _png(data: tf.Tensor) -> tf.Tensor:
    eight = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8), tf.int64)
    digits = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.reduce_prod(tf.linalg.matvec(tf.reshape(eight, [2, 4]), digits))


def _scans(data: tf.Tensor) -> tf.Tensor:
    """Returns how many scans a JPEG has, [] int32; 0 for any other file."""

    def count() -> tf.Tensor:
        each = tf.io.decode_raw(data, tf.uint8)
        return tf.math.count_nonzero((each[:-1] == SCAN[0]) & (each[1:] == SCAN[1]), dtype=tf.int32)

    return tf.cond(_begins(data, b"\xff\xd8"), count, lambda: tf.zeros([], tf.int32))
