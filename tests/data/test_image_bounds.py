"""The cost of decoding an image, from hand-made headers and from Pillow's files."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from mmrank.data.image_bounds import declared_pixels, image_cost, image_problem
from mmrank.data.media import probe_image

EOI = b"\xff\xd9"


def encoded(form: str, width: int = 30, height: int = 20, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("L" if form == "GIF" else "RGB", (width, height), 7).save(file, form, **options)
    return file.getvalue()


def gif(*frames: tuple[int, int], palette: bool = False) -> bytes:
    """A GIF of frames that declare pixels but contain none, each after a comment."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x81 if palette else 0, 0, 0)
    head += bytes(12 if palette else 0)  # 2^(1 + 1) colours
    comment = b"\x21\xfe\x03abc\x02de\x00"
    body = b"".join(
        comment + b"\x2c" + struct.pack("<HHHHB", 0, 0, w, h, 0x80) + bytes(6) + b"\x02\x01\x44\x00"
        for w, h in frames
    )
    return head + body + b"\x3b"


def jpeg(width: int, height: int, scans: int = 1) -> bytes:
    """The markers of a JPEG, with a comment whose bytes look like the marker of a scan."""
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"abcd"
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 8, 8, height, width, 0)  # one fill byte
    return b"\xff\xd8" + comment + frame + b"\xff\xda\x00\x02\x2c" * scans + EOI


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_sizes_of_pillow_files_are_read(form: str) -> None:
    assert declared_pixels(encoded(form)) == 600
    assert image_problem(encoded(form)) is None


def test_all_frames_of_a_gif_count() -> None:
    assert declared_pixels(gif((10, 20), (30, 5))) == 600  # both fit into 30 x 20
    assert declared_pixels(gif((10, 20), (10, 20), (10, 21))) == 610
    assert declared_pixels(gif((7, 3), palette=True)) == 21
    moving = [Image.new("L", (8, 8), grey) for grey in (0, 99, 200)]
    file = io.BytesIO()
    moving[0].save(file, "GIF", save_all=True, append_images=moving[1:])
    assert declared_pixels(file.getvalue()) == 3 * 64


def test_a_bomb_is_found_by_its_header() -> None:
    png = bytearray(encoded("PNG"))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    for data in (bytes(png), gif((60_000, 60_000)), jpeg(60_000, 60_000)):
        assert image_problem(data) == "too large: 3600 megapixels"
        assert probe_image(data) == "too large: 3600 megapixels"
    frames = gif(*[(4000, 4000)] * 4)
    assert image_problem(frames) == "too large: 64 megapixels"


def test_a_jpeg_of_many_scans_is_refused() -> None:
    assert image_problem(jpeg(10, 10, scans=100)) is None
    assert image_problem(jpeg(10, 10, scans=101)) == "too costly: a JPEG of more than 100 scans"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_truncated_file_does_not_raise(form: str) -> None:
    data = encoded(form)
    for end in range(min(len(data), 700)):
        assert 0 <= declared_pixels(data[:end]) <= 600


@pytest.mark.parametrize("data", [b"", b"RIFF..WEBP", b"<svg>", b"GIF8", b"\xff\xd8\xff"])
def test_bytes_that_are_not_an_image_declare_no_size(data: bytes) -> None:
    assert declared_pixels(data) == 0


@pytest.mark.parametrize("part", [b"\xff", b"\xff\x00", b"\xff\xd0", b"\xff\xe0\x00\x02"])
def test_a_jpeg_of_endless_markers_is_not_scanned_to_the_end(part: bytes) -> None:
    data = b"\xff\xd8" + part * 20_000 + jpeg(8, 8)[2:]
    assert image_problem(data) == "too costly: a JPEG of more than 10,000 markers"
    assert declared_pixels(data) > 50_000_000
    assert image_problem(b"\xff\xd8" + part * 9_000 + jpeg(8, 8)[2:]) is None


def test_a_gif_of_many_small_blocks_is_not_scanned_to_the_end() -> None:
    comment = b"\x21\xfe" + b"\x01a" * 20_000 + b"\x00"
    data = gif((10, 20))[:-1] + comment + b"\x3b"
    most = 10_000 + len(data) // 64
    assert image_problem(data) == f"too costly: a GIF of more than {most:,} blocks"
    assert declared_pixels(data) > 50_000_000
    full = b"\x21\xfe" + (b"\xff" + b"a" * 255) * 20_000 + b"\x00"
    assert image_problem(gif((10, 20))[:-1] + full + b"\x3b") is None


@pytest.mark.parametrize(("scans", "counts"), [(1, 1), (10, 1), (11, 2), (100, 10)])
def test_scans_count_as_cost(scans: int, counts: int) -> None:
    assert image_cost(jpeg(30, 20, scans)) == (600 * counts, None)


def test_a_cost_comes_with_its_problem() -> None:
    assert image_cost(jpeg(30, 20), 599) == (600, "too large: 0 megapixels")
    assert image_cost(b"no image") == (0, None)
    pixels, problem = image_cost(b"\xff\xd8" + b"\xff" * 20_000)
    assert pixels > 10**18
    assert "too costly" in str(problem)
