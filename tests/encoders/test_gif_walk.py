"""The walk over a GIF's blocks: equal to Python's, in few steps for any block sizes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from mmrank.data import image_bounds
from mmrank.encoders import gif_walk
from mmrank.encoders.image_bounds import bounded, declared_pixels

MEGABYTE = 1_000_000
SCREEN = b"GIF89a" + struct.pack("<HH", 4, 4) + b"\0\0\0"  # without a palette
FRAME = b"\x2c" + struct.pack("<HHHH", 0, 0, 4, 4) + b"\0" + b"\x08"


@pytest.fixture(scope="module")
def graph() -> tf.types.experimental.ConcreteFunction:
    return tf.function(declared_pixels).get_concrete_function(tf.TensorSpec([], tf.string))


def filled(count: int) -> bytes:
    """One frame of blocks as full as encoders make them."""
    return SCREEN + FRAME + (b"\xff" + b"a" * 255) * count + b"\0;"


def tiny_blocks() -> Iterator[bytes]:
    yield SCREEN + FRAME + b"\x01a" * (MEGABYTE // 2) + b"\0;"
    yield SCREEN + b"\x21\0\0" * (MEGABYTE // 3) + b";"
    yield SCREEN + (FRAME + b"\0") * (MEGABYTE // 12) + b";"


def random_gif(rng: np.random.Generator) -> bytes:
    """Frames and extensions with palettes and blocks of any size."""
    parts = [SCREEN[:10] + bytes([rng.integers(0, 128)]) + b"\0\0"]
    for _ in range(rng.integers(1, 200)):
        if rng.integers(2):
            parts.append(b"\x21" + rng.bytes(1))
        else:
            flags = int(rng.integers(0, 256))
            palette = 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
            parts.append(b"\x2c" + rng.bytes(8) + bytes([flags]) + rng.bytes(palette) + b"\x08")
        for size in rng.integers(1, 256, rng.integers(0, 5)).tolist():
            parts.append(bytes([size]) + rng.bytes(size))
        parts.append(b"\0")
    return b"".join(parts) + b";" * int(rng.integers(2))


def test_the_walk_agrees_with_one_block_by_block(graph) -> None:
    rng = np.random.default_rng(0)
    for data in [random_gif(rng) for _ in range(200)] + [filled(n) for n in (0, 1, 40)]:
        assert int(graph(tf.constant(data))) == image_bounds.declared_pixels(data)


def test_frames_of_other_shapes_count_as_their_bounding_box(graph) -> None:
    wide, high = struct.pack("<HH", 100, 1), struct.pack("<HH", 1, 100)
    data = SCREEN + b"".join(b"\x2c\0\0\0\0" + s + b"\0\x08\0" for s in (wide, high)) + b";"
    assert int(graph(tf.constant(data))) == 100 * 100


def test_the_walk_takes_a_step_per_window_not_per_block(monkeypatch) -> None:
    steps = []
    step = gif_walk._through_window

    def counted(padded: tf.Tensor, size: tf.Tensor, walk: gif_walk._Walk) -> gif_walk._Walk:
        steps.append(1)
        return step(padded, size, walk)

    monkeypatch.setattr(gif_walk, "_through_window", counted)
    data = filled(MEGABYTE // 256)
    assert int(declared_pixels(tf.constant(data))) == 16
    assert len(steps) <= len(data) // gif_walk.WINDOW + 1
    for data in tiny_blocks():
        steps.clear()
        with pytest.raises(tf.errors.InvalidArgumentError, match="too many blocks is too costly"):
            bounded(tf.constant(data))
        assert len(steps) <= len(data) // gif_walk.WINDOW + 1
        assert image_bounds.image_problem(data) is not None  # the same judgement as in reading


def test_a_large_file_of_full_blocks_passes(graph) -> None:
    assert int(graph(tf.constant(filled(4 * MEGABYTE // 256)))) == 16
