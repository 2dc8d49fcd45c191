"""The frames that a GIF declares, by graph ops whose number grows only with its size.

A GIF is a chain of blocks of 1 to 256 bytes, each of which says where the next begins. With one
step of a `tf.while_loop` per block, a megabyte of tiny blocks would occupy a server for half a
minute. Here a step handles a window of bytes: it computes the jump target of every byte at once,
and finds the chain of n jumps by log2(n) lookups.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from mmrank.data.image_bounds import BLOCK_BYTES, MAX_BLOCKS

WINDOW_BITS = 12
WINDOW = 2**WINDOW_BITS  # bytes
_EXTENSION, _IMAGE = 0x21, 0x2C  # first byte of an extension and of an image
_HEADER = 13  # bytes before the first palette
_IMAGE_HEADER = 11  # bytes of an image's header, including the size of its codes
_LONGEST = 1024  # no jump is longer: the longest is an image's header with 256 colours
TOO_MANY = tf.int64.max


class _Walk(NamedTuple):
    """The state of a walk through the blocks of a GIF.

    Attributes:
      at: Index of the next byte, [] int32.
      inside: Whether that byte is the size of a data block; otherwise it is the tag of an extension
        or an image.
      total: The pixels of all frames so far, [] int64.
      widest, tallest: The largest width and height of all frames so far, [] int32.
      blocks: How many blocks were passed, [] int32.
    """

    at: tf.Tensor
    inside: tf.Tensor
    total: tf.Tensor
    widest: tf.Tensor
    tallest: tf.Tensor
    blocks: tf.Tensor


def gif_pixels(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels [] int64 of all frames of a GIF.

    If it is larger, returns the largest width times the largest height of all frames instead.
    Returns `TOO_MANY` for a GIF of more blocks than are examined.

    Args:
      data: The file's bytes [bytes] uint8.
    """
    size = tf.size(data)
    # The padding makes every window complete, and its zeros end a walk.
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
    """Returns the bytes of the colour tables that the flags announce."""
    return tf.where(flags >= 0x80, tf.bitwise.left_shift(6, flags & 7), 0)


def _through_window(padded: tf.Tensor, size: tf.Tensor, walk: _Walk) -> _Walk:
    """Returns the walk after the window that begins at `walk.at`, or at the end of the walk.

    Index i, below `span`, is byte i of the window, outside of data. Index i + `span` is the
    same byte as the size of a data block.
    """
    span = WINDOW + _LONGEST
    window = tf.cast(tf.slice(padded, [walk.at], [span + _LONGEST]), tf.int32)

    def ahead(by: int) -> tf.Tensor:
        return window[by : by + span]

    here = tf.range(span)
    within = here < WINDOW
    tag, block = ahead(0), ahead(0)
    image = within & (tag == _IMAGE)
    extension = within & (tag == _EXTENSION)
    header = tf.where(image, _IMAGE_HEADER + _palette(ahead(9)), 2)
    outside = tf.where(image | extension, here + header + span, here)
    last = within & (block == 0)
    inside = tf.where(within, here + 1 + block + tf.where(last, 0, span), here + span)

    reached = _reached_indices(tf.concat([outside, inside], 0), tf.where(walk.inside, span, 0))
    final = reached[-1]
    at, in_data = final % span, final >= span
    width = tf.where(image, ahead(5) + 256 * ahead(6), 0)
    height = tf.where(image, ahead(7) + 256 * ahead(8), 0)
    # Within the window, every jump leads to another index, except the one that ends the walk. So
    # an index is reached only once, or has nothing to count.
    frames = tf.where(reached < span, reached, WINDOW)
    widths, heights = tf.gather(width, frames), tf.gather(height, frames)
    data_indices = tf.boolean_mask(reached, reached >= span) - span
    return _Walk(
        # A byte in the window without a jump is not a tag, so the walk ends.
        tf.where(at < WINDOW, size, walk.at + at),
        in_data,
        walk.total + tf.reduce_sum(tf.cast(widths, tf.int64) * tf.cast(heights, tf.int64)),
        tf.maximum(walk.widest, tf.reduce_max(widths)),
        tf.maximum(walk.tallest, tf.reduce_max(heights)),
        walk.blocks + tf.math.count_nonzero(data_indices < WINDOW, dtype=tf.int32),
    )


def _reached_indices(following: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Returns the first `WINDOW` indices of a walk in their order, [WINDOW] int32.

    Args:
      following: The index after each index; an index that ends the walk leads to itself.
      first: The index to begin with.
    """
    reached = first[None]
    for step in range(WINDOW_BITS):  # `following` is the index after 2**step jumps
        reached = tf.concat([reached, tf.gather(following, reached)], 0)
        if step < WINDOW_BITS - 1:
            following = tf.gather(following, following)
    return reached
