"""EXIF orientation: read from hand-written bytes, and turned as by Pillow."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from mmrank.encoders.orientation import orientation, upright


def tiff(turn: int, order: str = "<", before: int = 2, offset: int = 8) -> bytes:
    """The TIFF part of EXIF data: some other entries, then the orientation."""
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}I", offset)
    entries = [struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")] * before
    entries.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, turn, 0))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return head + b"\0" * (offset - 8) + directory


def segment(data: bytes) -> bytes:
    body = b"Exif\0\0" + data
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    """A JPEG of 24 x 16 pixels in four colours, with segments after its first marker."""
    picture = Image.new("RGB", (24, 16), "red")
    picture.paste("lime", (12, 0, 24, 8))
    picture.paste("blue", (0, 8, 12, 16))
    picture.paste("white", (12, 8, 24, 16))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, subsampling=0)
    data = file.getvalue()
    return data[:2] + b"".join(segments) + data[2:]


ICC = b"\xff\xe2\x00\x10ICC_PROFILE\0\0\0"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(turn: int, order: str) -> None:
    data = jpeg(segment(tiff(turn, order)))
    actual = orientation(tf.constant(data))
    assert int(actual) == turn
    turned = upright(tf.io.decode_jpeg(data), actual).numpy().astype(float)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), float)
    assert turned.shape == expected.shape
    assert np.abs(turned - expected).mean() < 3


@pytest.mark.parametrize(
    ("data", "turn"),
    [
        (jpeg(), 1),
        (jpeg(ICC, segment(tiff(6))), 6),  # after another segment
        (jpeg(segment(tiff(8, before=60))), 8),
        (jpeg(segment(tiff(8, offset=40))), 8),
        (jpeg(segment(tiff(9))), 1),
        (jpeg(segment(tiff(0))), 1),
        (jpeg(segment(b"no TIFF at all")), 1),
        (jpeg(segment(tiff(6)[:20])), 1),  # cut off before the entry
        (jpeg(segment(b"II*\x00\xff\xff\xff\xff")), 1),  # an offset beyond the end of the file
        (b"\xff\xd8", 1),
        (b"\xff\xd8\xff\xe1", 1),
        (b"", 1),
        (b"\x89PNG" + segment(tiff(6)), 1),
    ],
)
def test_photos_without_an_orientation_are_not_turned(data: bytes, turn: int) -> None:
    assert int(orientation(tf.constant(data))) == turn


def test_random_bytes_after_the_marker_raise_no_error() -> None:
    random = np.random.default_rng(5)
    actual = tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)])
    for _ in range(300):
        noise = random.integers(0, 256, random.integers(0, 200), np.uint8).tobytes()
        start = random.choice([b"", b"II*\0", b"MM\0*", tiff(6)[: random.integers(4, 38)]])
        assert 1 <= int(actual(b"\xff\xd8" + segment(bytes(start) + noise))) <= 8
