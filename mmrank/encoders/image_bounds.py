"""An image's bytes let through to the decoder only if decoding them is bounded, in graph ops.

A few hundred bytes can declare four gigapixels, for which a decoder would take the memory before
it looks at the first of them. The graph cannot rely on who called it, so it looks itself.
"""

from __future__ import annotations

import tensorflow as tf

from mmrank.data.image_bounds import MAX_PIXELS, MAX_SCANS, SCAN

_EXTENSION, _IMAGE = 0x21, 0x2C  # what begins an extension and an image of a GIF


def bounded(data: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """The bytes of an image file unchanged.

    Args:
      data: A file's bytes [].
      max_pixels: Bound on the pixels that its decoder would hold, those of all frames of a GIF.

    Raises:
      InvalidArgumentError: When run on a file over the bound, or a JPEG of more than `MAX_SCANS`
        scans. A file that is no image passes, for the decoder to refuse.
    """
    pixels = declared_pixels(data)
    words = f"an image of {{}} pixels is too large: the most is {max_pixels}"
    small = tf.debugging.Assert(pixels <= max_pixels, [tf.strings.format(words, pixels)])
    words = f"a JPEG of {{}} scans is too costly: the most is {MAX_SCANS}"
    scans = _scans(data)
    quick = tf.debugging.Assert(scans <= MAX_SCANS, [tf.strings.format(words, scans)])
    with tf.control_dependencies([small, quick]):
        return tf.identity(data)


def declared_pixels(data: tf.Tensor) -> tf.Tensor:
    """What `mmrank.data.image_bounds.declared_pixels` gives, [] int64; 0 for a BMP.

    A BMP is never larger than its file, since the decoder reads none that is compressed.
    """
    return tf.case(
        [
            (_begins(data, b"\xff\xd8\xff"), lambda: _jpeg(data)),
            (_begins(data, b"\x89PNG") & (tf.strings.length(data) >= 24), lambda: _png(data)),
            (_begins(data, b"GIF8"), lambda: _gif(tf.io.decode_raw(data, tf.uint8))),
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


def _gif(data: tf.Tensor) -> tf.Tensor:
    """The pixels of all frames of a GIF [bytes] uint8, walked from block to block."""
    size = tf.size(data)

    def byte(at: tf.Tensor) -> tf.Tensor:
        return tf.cast(data[tf.minimum(at, size - 1)], tf.int32)

    def two(at: tf.Tensor) -> tf.Tensor:
        return byte(at) + 256 * byte(at + 1)

    def palette(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 0x80, tf.bitwise.left_shift(6, flags & 7), 0)

    def step(
        at: tf.Tensor, inside: tf.Tensor, total: tf.Tensor, tallest: tf.Tensor, widest: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        tag = byte(at)
        image = ~inside & (tag == _IMAGE)
        blocks = image | (~inside & (tag == _EXTENSION))
        width, height = tf.where(image, two(at + 5), 0), tf.where(image, two(at + 7), 0)
        skip = tf.where(image, 11 + palette(byte(at + 9)), tf.where(blocks, 2, size))
        return (
            at + tf.where(inside, 1 + tag, skip),
            tf.where(inside, tag != 0, blocks),
            total + tf.cast(width, tf.int64) * tf.cast(height, tf.int64),
            tf.maximum(tallest, height),
            tf.maximum(widest, width),
        )

    nothing = tf.zeros([], tf.int32)
    _, _, total, tallest, widest = tf.while_loop(
        lambda at, *_: at < size,
        step,
        [13 + palette(byte(nothing + 10)), tf.constant(False), tf.zeros([], tf.int64)]
        + [nothing, nothing],
    )
    return tf.maximum(total, tf.cast(tallest, tf.int64) * tf.cast(widest, tf.int64))


def _scans(data: tf.Tensor) -> tf.Tensor:
    """How many scans a JPEG has, [] int32; 0 for another file."""

    def count() -> tf.Tensor:
        each = tf.io.decode_raw(data, tf.uint8)
        return tf.math.count_nonzero((each[:-1] == SCAN[0]) & (each[1:] == SCAN[1]), dtype=tf.int32)

    return tf.cond(_begins(data, b"\xff\xd8"), count, lambda: tf.zeros([], tf.int32))
