"""What decoding an image file would cost, read from its headers: nothing is decoded."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

MAX_PIXELS = 50_000_000
# A progressive JPEG is as costly as it has scans, each over the whole image. Encoders write about
# ten, and phones put a preview and a second picture behind the first.
MAX_SCANS = 100
SCAN = b"\xff\xda"
# What a pixel is counted for: once for so many scans begun, as many as an encoder writes.
SCANS_AT_ONCE = 10
# Markers before the first scan of a JPEG: real ones have tens, and a long walk over them is work.
MAX_MARKERS = 10_000
# Blocks of a GIF, beside one for so many bytes of the file: writers fill them to 255.
MAX_BLOCKS, BLOCK_BYTES = 10_000, 64
# Markers of JPEG that begin a frame and so bear its size: SOF0 to SOF15 but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xDA)) | {0x01}  # without a length: RST, SOI, EOI and TEM


def image_problem(data: bytes, max_pixels: int = MAX_PIXELS) -> str | None:
    """None for a file whose decoding is bounded, else the reason in a few words.

    A file that is no image passes: a decoder refuses it at no cost.

    Args:
      data: The file's bytes.
      max_pixels: Bound on `declared_pixels`.
    """
    return image_cost(data, max_pixels)[1]


def image_cost(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, str | None]:
    """What decoding a file costs, in pixels, and `image_problem`, by one walk over its headers.

    A JPEG's pixels count once for each `SCANS_AT_ONCE` scans begun, each of which is decoded.
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
    """The pixels that a decoder of a JPEG, PNG, GIF or BMP would hold; 0 where no header says.

    Of a GIF all frames count, since they are all decoded before the first is taken. Of a file that
    `image_problem` finds too costly to look through it is the largest number there is.
    """
    try:
        return _pixels(data)
    except _TooManyParts:
        return sys.maxsize


class _TooManyParts(ValueError):
    """A header that is not looked through."""


def _pixels(data: bytes) -> int:
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError):
                return 0  # ends within its headers, as its decoder will say
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
        if marker in (0xFF, 0x00):  # filling
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
    """Bytes of the colour table that a GIF's flags announce."""
    return 6 << (flags & 7) if flags & 0x80 else 0


_READERS: dict[bytes, Callable[[bytes], int]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG": _png,
    b"GIF8": _gif,
    b"BM": _bmp,
}
