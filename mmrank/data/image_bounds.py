"""The cost of decoding an image file, read from its headers without decoding it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

MAX_PIXELS = 50_000_000
# The cost of a progressive JPEG is proportional to its scans, each of which covers the whole image.
# Encoders write about ten, and phones append a preview and a second picture to the first.
MAX_SCANS = 100
SCAN = b"\xff\xda"
# A pixel counts once per this many scans or part of them, which is what an encoder writes.
SCANS_AT_ONCE = 10
# Most markers before the first scan of a JPEG. Real files have tens; reading many takes time.
MAX_MARKERS = 10_000
# A GIF may have MAX_BLOCKS blocks plus one per BLOCK_BYTES bytes; writers fill blocks to 255 bytes.
MAX_BLOCKS, BLOCK_BYTES = 10_000, 64
# JPEG markers that begin a frame and give its size: SOF0 to SOF15 except DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xDA)) | {0x01}  # without a length: RST, SOI, EOI and TEM


def image_problem(data: bytes, max_pixels: int = MAX_PIXELS) -> str | None:
    """None if the cost of decoding a file is within the bounds, else the reason in a few words.

    A file that is not an image passes: a decoder refuses it at no cost.

    Args:
      data: The file's bytes.
      max_pixels: Bound on `declared_pixels`.
    """
    return image_cost(data, max_pixels)[1]


def image_cost(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, str | None]:
    """The cost of decoding a file, in pixels, and its `image_problem`, read from its headers once.

    A JPEG's pixels count once per `SCANS_AT_ONCE` scans or part of them, as every scan is decoded.
    """
    try:
        pixels = _pixels(data)
    except _TooManyParts as error:
        return sys.maxsize, f"too costly: {error}"
    scans = data.count(SCAN) if data[:2] == b"\xff\xd8" else 0
    cost = pixels * max(1, -(-scans // SCANS_AT_ONCE))
    if pixels > max_pixels:
        return cost, f"too large: {pixels / 1e6:.0f} megapixels"
    if scans > MAX_SCANS:
        return cost, f"too costly: a JPEG of more than {MAX_SCANS} scans"
    return cost, None


def declared_pixels(data: bytes) -> int:
    """The number of pixels that a decoder of a JPEG, PNG, GIF or BMP would hold; 0 if unknown.

    All frames of a GIF count, because they are all decoded before the first is used. For a file
    with too many markers or blocks to read, it is `sys.maxsize`.

    Example:
      >>> import io
      >>> from PIL import Image
      >>> file = io.BytesIO()
      >>> Image.new("RGB", (30, 20)).save(file, "PNG")
      >>> declared_pixels(file.getvalue()), declared_pixels(b"not a photo")
      (600, 0)
    """
    try:
        return _pixels(data)
    except _TooManyParts:
        return sys.maxsize


class _TooManyParts(ValueError):
    """A header with too many markers or blocks to read them all."""


def _pixels(data: bytes) -> int:
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError):
                return 0  # the file ends within its headers, which its decoder reports
    return 0


def _png(data: bytes) -> int:
    width, height = struct.unpack_from(">II", data, 16)
    return width * height


def _bmp(data: bytes) -> int:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width * height)


def _jpeg(data: bytes) -> int:
    at, pixels, markers = 2, 0, 0
    while at < len(data):
        markers += 1
        if markers > MAX_MARKERS:
            raise _TooManyParts(f"a JPEG of more than {MAX_MARKERS:,} markers")
        at = data.find(b"\xff", at)
        if at < 0:
            break
        marker = data[at + 1]
        if marker in (0xFF, 0x00):  # fill bytes
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker == SCAN[1]:
            break
        else:
            if marker in _FRAMES:
                height, width = struct.unpack_from(">HH", data, at + 5)
                pixels = max(pixels, height * width)
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return pixels


def _gif(data: bytes) -> int:
    at = 13 + _palette(data[10])
    total = tallest = widest = blocks = 0
    most = MAX_BLOCKS + len(data) // BLOCK_BYTES
    while at < len(data) and data[at] in (0x21, 0x2C):
        if data[at] == 0x21:  # an extension: its label, then blocks
            at += 2
        else:
            width, height = struct.unpack_from("<HH", data, at + 5)
            total, widest, tallest = (
                total + width * height,
                max(widest, width),
                max(tallest, height),
            )
            at += 11 + _palette(data[at + 9])
        while at < len(data) and data[at] and blocks <= most:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
        if blocks > most:
            raise _TooManyParts(f"a GIF of more than {most:,} blocks")
    return max(total, tallest * widest)


def _palette(flags: int) -> int:
    """The size in bytes of the colour table that a GIF's flags declare."""
    return 6 << (flags & 7) if flags & 0x80 else 0


_READERS: dict[bytes, Callable[[bytes], int]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG": _png,
    b"GIF8": _gif,
    b"BM": _bmp,
}
