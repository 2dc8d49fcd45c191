"""Reads the orientation of a JPEG from its EXIF data and turns the picture upright, in graph ops.

Phones store what the sensor saw and record how the camera was held. Browsers turn the picture
accordingly, and so does this module.
"""

from __future__ import annotations

import tensorflow as tf

# A marker and its length precede "Exif" and two zeros. The header of the TIFF part follows.
_MARK, _NAME, _TIFF = b"\xff\xe1", b"Exif\x00\x00", 8
SEARCHED = 65_536  # bytes from the start: the EXIF data come before the picture
_ENTRIES, _ENTRY, _TAG = 64, 12, 0x0112


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns how to turn a picture, [] int32 from 1 (not at all) to 8; 1 without EXIF data.

    Args:
      data: An image file's bytes [].

    Source: Exif 2.32, section 4.5.4 and tag 0x0112; TIFF 6.0, section 2.
    """
    return tf.cond(
        tf.strings.substr(data, 0, 2) == b"\xff\xd8",
        lambda: _read_orientation(tf.io.decode_raw(tf.strings.substr(data, 0, SEARCHED), tf.uint8)),
        lambda: tf.constant(1),
    )


def _read_orientation(given: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first bytes [N] uint8 of a JPEG."""
    # Pad with zeros, so that every index below is valid.
    behind = len(_MARK) + 2 + len(_NAME) + _TIFF + 2 + _ENTRIES * _ENTRY
    each = tf.cast(tf.pad(given, [[0, behind]]), tf.int32)
    count = tf.shape(given)[0]

    def at(start: tf.Tensor, text: bytes) -> tf.Tensor:
        """Returns whether a text is at the given indices."""
        found = [tf.gather(each, start + i) == byte for i, byte in enumerate(text)]
        return tf.reduce_all(tf.stack(found, -1), -1)

    marks = tf.reshape(tf.where((each[:-1] == _MARK[0]) & (each[1:] == _MARK[1])), [-1])
    marks = tf.cast(marks, tf.int32)
    marks = tf.boolean_mask(marks, marks < count)
    marks = tf.boolean_mask(marks, at(marks + 4, _NAME))
    # Without any marker, take the first byte, which is not a TIFF header.
    tiff = tf.concat([marks, [0]], 0)[0] + 4 + len(_NAME)
    big = at(tiff, b"MM\x00*")
    known = big | at(tiff, b"II*\x00")

    def number(start: tf.Tensor, size: int) -> tf.Tensor:
        """Returns the integers of `size` bytes at the given indices, in the file's byte order."""
        parts = tf.stack([tf.gather(each, start + i) for i in range(size)], -1)
        weights = tf.constant([256**i for i in range(size)])
        return tf.where(
            big, tf.reduce_sum(parts * weights[::-1], -1), tf.reduce_sum(parts * weights, -1)
        )

    # Only the lower two of the offset's four bytes matter: the data are not longer than that.
    offset = number(tiff + tf.where(big, 6, 4), 2)
    directory = tf.minimum(tiff + offset, count)
    entries = directory + 2 + _ENTRY * tf.range(_ENTRIES)
    inside = tf.range(_ENTRIES) < number(directory, 2)
    here = inside & (number(entries, 2) == _TAG) & (number(entries + 2, 2) == 3)
    value = tf.reduce_max(tf.where(here, number(entries + 8, 2), 0))
    return tf.where(known & (value >= 1) & (value <= 8), value, 1)


def upright(pixels: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Returns a picture [height, width, C] turned as `orientation` says.

    Args:
      pixels: The pixels as stored.
      turn: [] int32 from 1 to 8.
    """
    # Values 5 to 8 swap rows and columns. The result may then be mirrored, flipped, or both.
    turned = tf.cond(turn >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored, flipped = [
        tf.reduce_any(turn == tf.constant(turns)) for turns in ([2, 3, 6, 7], [3, 4, 7, 8])
    ]
    turned = tf.cond(mirrored, lambda: tf.reverse(turned, [1]), lambda: turned)
    return tf.cond(flipped, lambda: tf.reverse(turned, [0]), lambda: turned)
