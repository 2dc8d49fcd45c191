"""An image's bytes let through to the decoder only if decoding them is bounded, in graph ops.

A few hundred bytes can declare four gigapixels, for which a decoder would take the memory before
it looks at the first of them. The graph cannot rely on who called it, so it looks itself.
"""

from __future__ import annotations

import tensorflow as tf

from mmrank.data.image_bounds import MAX_PIXELS, MAX_SCANS, SCAN
from mmrank.encoders.gif_walk import TOO_MANY, gif_pixels


def bounded(data: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """The bytes of an image file unchanged.

    Args:
      data: A file's bytes [].
      max_pixels: Bound on the pixels that its decoder would hold, those of all frames of a GIF.

    Raises:
      InvalidArgumentError: When run on a file over the bound, or a JPEG of more than `MAX_SCANS`
        scans, or a GIF of more blocks than are looked through. A file that is no image passes, for
        the decoder to refuse.
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
    """What `mmrank.data.image_bounds.declared_pixels` gives, [] int64; 0 for a BMP.

    `gif_walk.TOO_MANY` for a GIF of too many blocks.

    A BMP is never larger than its file, since the decoder reads none that is compressed.
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
    # `substr` takes less where there is less.
    return tf.strings.substr(data, 0, len(magic)) == magic


def _jpeg(data: tf.Tensor) -> tf.Tensor:
    shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
    return shape[0] * shape[1]


def _png(data: tf.Tensor) -> tf.Tensor:
    eight = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8), tf.int64)
    digits = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.reduce_prod(tf.linalg.matvec(tf.reshape(eight, [2, 4]), digits))


def _scans(data: tf.Tensor) -> tf.Tensor:
    """How many scans a JPEG has, [] int32; 0 for another file."""

    def count() -> tf.Tensor:
        each = tf.io.decode_raw(data, tf.uint8)
        return tf.math.count_nonzero((each[:-1] == SCAN[0]) & (each[1:] == SCAN[1]), dtype=tf.int32)

    return tf.cond(_begins(data, b"\xff\xd8"), count, lambda: tf.zeros([], tf.int32))
