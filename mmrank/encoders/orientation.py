"""Which way up a JPEG is, as its EXIF data tells, and the picture turned so, in graph ops.

Phones store what the sensor saw and write beside it how the camera was held. Browsers turn the
picture, and so does this.
"""

from __future__ import annotations

import tensorflow as tf

# A marker and its length before "Exif", two zeros, and the header of the TIFF part behind it.
_MARK, _NAME, _TIFF = b"\xff\xe1", b"Exif\x00\x00", 8
SEARCHED = 65_536  # bytes from the start: the data stand before the picture
_ENTRIES, _ENTRY, _TAG = 64, 12, 0x0112


def orientation(data: tf.Tensor) -> tf.Tensor:
    """How a picture is to be turned, [] int32 from 1 (not at all) to 8; 1 where nothing says.

    Args:
      data: An image file's bytes [].

    Source: Exif 2.32, section 4.5.4 and tag 0x0112; TIFF 6.0, section 2.
    """
    return tf.cond(
        tf.strings.substr(data, 0, 2) == b"\xff\xd8",
        lambda: _told(tf.io.decode_raw(tf.strings.substr(data, 0, SEARCHED), tf.uint8)),
        lambda: tf.constant(1),
    )


def _told(given: tf.Tensor) -> tf.Tensor:
    """The orientation in the first bytes [N] uint8 of a JPEG."""
    # Behind the end stand zeros, so that every place can be looked at.
    behind = len(_MARK) + 2 + len(_NAME) + _TIFF + 2 + _ENTRIES * _ENTRY
    each = tf.cast(tf.pad(given, [[0, behind]]), tf.int32)
    count = tf.shape(given)[0]

    def at(place: tf.Tensor, text: bytes) -> tf.Tensor:
        """Whether a text stands at places."""
        found = [tf.gather(each, place + i) == byte for i, byte in enumerate(text)]
        return tf.reduce_all(tf.stack(found, -1), -1)

    marks = tf.reshape(tf.where((each[:-1] == _MARK[0]) & (each[1:] == _MARK[1])), [-1])
    marks = tf.cast(marks, tf.int32)
    marks = tf.boolean_mask(marks, marks < count)
    marks = tf.boolean_mask(marks, at(marks + 4, _NAME))
    # Without any, the first byte, which is no TIFF header.
    tiff = tf.concat([marks, [0]], 0)[0] + 4 + len(_NAME)
    big = at(tiff, b"MM\x00*")
    known = big | at(tiff, b"II*\x00")

    def number(place: tf.Tensor, size: int) -> tf.Tensor:
        """The whole numbers of some bytes at places, in the file's order of bytes."""
        parts = tf.stack([tf.gather(each, place + i) for i in range(size)], -1)
        weights = tf.constant([256**i for i in range(size)])
        return tf.where(
            big, tf.reduce_sum(parts * weights[::-1], -1), tf.reduce_sum(parts * weights, -1)
        )

    # Of the four bytes of the offset the lower two: the data are no longer than that.
    offset = number(tiff + tf.where(big, 6, 4), 2)
    directory = tf.minimum(tiff + offset, count)
    entries = directory + 2 + _ENTRY * tf.range(_ENTRIES)
    inside = tf.range(_ENTRIES) < number(directory, 2)
    here = inside & (number(entries, 2) == _TAG) & (number(entries + 2, 2) == 3)
    told = tf.reduce_max(tf.where(here, number(entries + 8, 2), 0))
    return tf.where(known & (told >= 1) & (told <= 8), told, 1)


def upright(pixels: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """A picture [height, width, C] turned as `orientation` tells.

    Args:
      pixels: As they are stored.
      turn: [] int32 from 1 to 8.
    """
    # 5 to 8 have rows for columns; the rest is to be mirrored, turned upside down, or both.
    turned = tf.cond(turn >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored, flipped = [
        tf.reduce_any(turn == tf.constant(turns)) for turns in ([2, 3, 6, 7], [3, 4, 7, 8])
    ]
    turned = tf.cond(mirrored, lambda: tf.reverse(turned, [1]), lambda: turned)
    return tf.cond(flipped, lambda: tf.reverse(turned, [0]), lambda: turned)
