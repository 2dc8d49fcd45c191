"""The frames that a GIF declares, by graph ops whose number grows with its size alone.

A GIF is a chain of blocks of 1 to 256 bytes, each of which says where the next begins. A step of a
`tf.while_loop` for every block would let a megabyte of tiny blocks hold a server for half a minute.
Here a step takes a window of bytes: where each of its bytes would lead is known at once, and the
chain of n jumps is found by log2(n) lookups.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from mmrank.data.image_bounds import BLOCK_BYTES, MAX_BLOCKS

WINDOW_BITS = 12
WINDOW = 2**WINDOW_BITS  # bytes
_EXTENSION, _IMAGE = 0x21, 0x2C  # what begins an extension and an image
_HEADER = 13  # bytes before the first palette
_IMAGE_HEADER = 11  # of an image with the size of its codes
_LONGEST = 1024  # no jump is longer: an image's header with 256 colours
TOO_MANY = tf.int64.max


class _Walk(NamedTuple):
    """Where a walk stands.

    Attributes:
      at: The next byte, [] int32.
      inside: Whether it is the size of a block of data, else the tag of an extension or an image.
      total: The pixels of all frames so far, [] int64.
      widest, tallest: Of all frames, [] int32.
      blocks: How many blocks were passed, [] int32.
    """

    at: tf.Tensor
    inside: tf.Tensor
    total: tf.Tensor
    widest: tf.Tensor
    tallest: tf.Tensor
    blocks: tf.Tensor


def gif_pixels(data: tf.Tensor) -> tf.Tensor:
    """The pixels [] int64 of all frames of a GIF, or of one as wide and high as any of them.

    `TOO_MANY` where it has more blocks than are looked through.

    Args:
      data: Its bytes [bytes] uint8.
    """
    size = tf.size(data)
    # Every window is whole, and beyond the end stands what ends a walk.
    padded = tf.pad(data, [[0, WINDOW + 2 * _LONGEST]])
    most = MAX_BLOCKS + size // BLOCK_BYTES
    nothing = tf.zeros([], tf.int32)
    flags = tf.cast(padded[10], tf.int32)
    start = _Walk(
        _HEADER + _palette(flags),
        tf.constant(False),
        tf.zeros([], tf.int64),
        nothing,
        nothing,
        nothing,
    )
    (end,) = tf.while_loop(
        lambda walk: (walk.at < size) & (walk.blocks <= most),
        lambda walk: (_through_window(padded, size, walk),),
        [start],
    )
    whole = tf.cast(end.tallest, tf.int64) * tf.cast(end.widest, tf.int64)
    return tf.where(end.blocks > most, TOO_MANY, tf.maximum(end.total, whole))


def _palette(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of the colour tables that flags announce."""
    return tf.where(flags >= 0x80, tf.bitwise.left_shift(6, flags & 7), 0)


def _through_window(padded: tf.Tensor, size: tf.Tensor, walk: _Walk) -> _Walk:
    """The walk at the first byte behind the window that begins where it stands, or at its end.

    A place is a byte of the window outside of data, or, `places` further, the same byte as the size
    of a block of data.
    """
    places = WINDOW + _LONGEST
    window = tf.cast(tf.slice(padded, [walk.at], [places + _LONGEST]), tf.int32)

    def ahead(by: int) -> tf.Tensor:
        return window[by : by + places]

    here = tf.range(places)
    within = here < WINDOW
    tag, block = ahead(0), ahead(0)
    image = within & (tag == _IMAGE)
    extension = within & (tag == _EXTENSION)
    header = tf.where(image, _IMAGE_HEADER + _palette(ahead(9)), 2)
    outside = tf.where(image | extension, here + header + places, here)
    last = within & (block == 0)
    inside = tf.where(within, here + 1 + block + tf.where(last, 0, places), here + places)

    reached = _places_on_the_way(tf.concat([outside, inside], 0), tf.where(walk.inside, places, 0))
    final = reached[-1]
    at, in_data = final % places, final >= places
    width = tf.where(image, ahead(5) + 256 * ahead(6), 0)
    height = tf.where(image, ahead(7) + 256 * ahead(8), 0)
    # A place within the window is left by every jump but the one that ends the walk, so that it is
    # reached once, or has nothing to count.
    frames = tf.where(reached < places, reached, WINDOW)
    widths, heights = tf.gather(width, frames), tf.gather(height, frames)
    data_places = tf.boolean_mask(reached, reached >= places) - places
    return _Walk(
        # No jump leads from here: it is no tag, and the walk ends.
        tf.where(at < WINDOW, size, walk.at + at),
        in_data,
        walk.total + tf.reduce_sum(tf.cast(widths, tf.int64) * tf.cast(heights, tf.int64)),
        tf.maximum(walk.widest, tf.reduce_max(widths)),
        tf.maximum(walk.tallest, tf.reduce_max(heights)),
        walk.blocks + tf.math.count_nonzero(data_places < WINDOW, dtype=tf.int32),
    )


def _places_on_the_way(following: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """The first `WINDOW` places of a walk in their order, [WINDOW] int32.

    Args:
      following: The place after each place; one that ends the walk leads to itself.
      first: The place to begin with.
    """
    reached = first[None]
    for step in range(WINDOW_BITS):  # `following` is that after 2**step jumps
        reached = tf.concat([reached, tf.gather(following, reached)], 0)
        if step < WINDOW_BITS - 1:
            following = tf.gather(following, following)
    return reached
