"""Absurd images: a few bytes that declare gigapixels, and files that are not images."""

from __future__ import annotations

import random
import struct

from pipelines.benchmarks.hostile.target import photo

EOI = b"\xff\xd9"


def png_bomb(rng: random.Random) -> bytes:
    """A PNG whose header declares up to 4 · 10^18 pixels."""
    side = struct.pack(">II", rng.randint(30_000, 2**31 - 1), rng.randint(30_000, 2**31 - 1))
    data = photo()
    return data[:16] + side + data[24:]


def jpeg_bomb(rng: random.Random) -> bytes:
    """A JPEG whose header declares 4 gigapixels, or one with thousands of scans."""
    scans = rng.choice([1, 5000])
    height, width = (65535, 65535) if scans == 1 else (64, 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00\x2c"
    return b"\xff\xd8" + frame + scan * scans + EOI


def gif_bomb(rng: random.Random) -> bytes:
    """A GIF of one huge frame or of hundreds of large ones."""
    frames, side = rng.choice([(1, 65535), (400, 2000)])
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b"\x3b"


def cut(rng: random.Random) -> bytes:
    """A truncated photo."""
    data = photo(64)
    return data[: rng.randint(9, len(data) - 20)]


def damaged(rng: random.Random) -> bytes:
    """A photo with a wrong byte among its pixels, which its checksum reveals."""
    data = bytearray(photo(64))
    data[data.index(b"IDAT") + 8 + rng.randint(0, 8)] ^= 0x55
    return bytes(data)


def other(rng: random.Random) -> bytes:
    """Bytes that are not an image."""
    chosen = [b"<svg/>", b"%PDF-1.7", b"PK\x03\x04", b"not an image at all", rng.randbytes(200)]
    return b"\x01" + rng.choice(chosen)


ABSURD = (png_bomb, jpeg_bomb, gif_bomb, cut, damaged, other)
