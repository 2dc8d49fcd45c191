"""The graph reads an image's header as Python does."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmrank.data import image_bounds
from mmrank.encoders.image import decode_image
from mmrank.encoders.image_bounds import bounded, declared_pixels


def encoded(form: str, size: tuple[int, int] = (30, 20), **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(noise)
    (picture.convert("P") if form == "GIF" else picture).save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def graph() -> tf.types.experimental.ConcreteFunction:
    """The pixels that one file declares, traced once."""
    return tf.function(declared_pixels).get_concrete_function(tf.TensorSpec([], tf.string))


@pytest.fixture(scope="module")
def decode() -> tf.types.experimental.ConcreteFunction:
    spec = tf.TensorSpec([], tf.string)
    return tf.function(lambda d: decode_image(d, 8, 8)).get_concrete_function(spec)


def moving() -> bytes:
    frames = [Image.new("L", (40, 25), grey) for grey in (0, 50, 100, 150, 200)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def grown(data: bytes, at: int, form: str) -> bytes:
    """The file with 50,000 x 50,000 pixels declared in its header."""
    packed = struct.pack(form, 50_000, 50_000)
    return data[:at] + packed + data[at + len(packed) :]


def bombs() -> dict[str, bytes]:
    gif, jpeg = encoded("GIF"), encoded("JPEG")
    return {
        "png": grown(encoded("PNG"), 16, ">II"),
        "gif": grown(gif, gif.index(b"\x2c\0\0\0\0") + 5, "<HH"),
        "jpeg": grown(jpeg, jpeg.index(b"\xff\xc0") + 5, ">HH"),
    }


def test_the_graph_and_python_agree(graph) -> None:
    progressive = encoded("JPEG", progressive=True, comment=b"\xff\xda" * 9)
    files = [encoded(f) for f in ("PNG", "JPEG", "GIF")] + [progressive, moving(), b"", b"no image"]
    files += [files[0][:n] for n in (3, 8, 20)]
    for data in [*files, *bombs().values()]:
        assert graph(tf.constant(data)).numpy() == image_bounds.declared_pixels(data)
    assert graph(tf.constant(moving())).numpy() == 5 * 40 * 25


@pytest.mark.parametrize("name", ["png", "gif", "jpeg"])
def test_a_bomb_is_refused_before_it_is_decoded(name: str, decode) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="2500000000 pixels is too large"):
        decode(tf.constant(bombs()[name]))


def test_a_jpeg_of_many_scans_is_refused(decode) -> None:
    data = encoded("JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    costly = data[:-2] + scan * 101 + data[-2:]
    with pytest.raises(tf.errors.InvalidArgumentError, match="scans is too costly"):
        decode(tf.constant(costly))
    assert decode(tf.constant(data)).shape == (8, 8, 3)


def test_the_walk_ends_for_a_gif_truncated_anywhere(graph) -> None:
    data = moving()
    for end in range(6, len(data), 31):
        assert 0 <= graph(tf.constant(data[:end])).numpy() <= 5 * 40 * 25


def test_the_bytes_pass_unchanged() -> None:
    for data in (encoded("PNG"), encoded("BMP"), b"not an image"):
        assert bounded(tf.constant(data)).numpy() == data
