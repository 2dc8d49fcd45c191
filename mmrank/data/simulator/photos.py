"""Draws product photos: shape, colour and pattern of a product on a light background."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image

from mmrank.data.simulator.products import Products
from mmrank.data.simulator.shapes import CANVAS, TILE, outline, tile
from mmrank.data.simulator.world import COLOURS, column

SIZE = 64  # pixels of a photo's side
MISSING_SHARE, BROKEN_SHARE = 0.08, 0.02
PERIODS = (9, 11, 13)
_RGB = {
    "red": (206, 34, 40),
    "orange": (242, 130, 28),
    "yellow": (246, 212, 50),
    "green": (44, 150, 68),
    "blue": (38, 88, 204),
    "purple": (124, 56, 166),
    "pink": (246, 150, 186),
    "brown": (118, 72, 42),
    "black": (28, 28, 30),
    "white": (247, 247, 245),
    "grey": (138, 140, 144),
}
PALETTE = np.array([_RGB[colour.key] for colour in COLOURS], dtype=np.float32)
BACKGROUNDS = np.array(
    [(255, 255, 255), (240, 236, 226), (226, 234, 242), (228, 228, 228), (236, 226, 232)],
    dtype=np.float32,
)
EPOCH = (2025, 1, 1, 0, 0, 0)  # date of every member, so that the archive's bytes are reproducible


def photo_states(items: int, rng: np.random.Generator) -> np.ndarray:
    """The state of each product's photo: `good`, `missing` or `broken`, [items] of text."""
    u = rng.random(items)
    return np.select(
        [u < MISSING_SHARE, u < MISSING_SHARE + BROKEN_SHARE], ["missing", "broken"], "good"
    )


def draw_photo(kind: int, colour: int, pattern: int, rng: np.random.Generator) -> np.ndarray:
    """A photo of one product, [SIZE, SIZE, 3] uint8.

    Scale, location, mirroring, background, shade of the colour and phase of the pattern vary; type,
    colour and pattern remain visible.
    """
    side = int(rng.integers(46, SIZE - 2))
    left, top = rng.integers(0, SIZE - side + 1, 2)
    body, trim, edge = (_placed(part, side, left, top) for part in outline(kind))
    if rng.random() < 0.5:
        body, trim, edge = body[:, ::-1], trim[:, ::-1], edge[:, ::-1]

    first = np.clip(PALETTE[colour] + rng.normal(0, 7, 3), 0, 255).astype(np.float32)
    light = float(first @ np.array([0.299, 0.587, 0.114], dtype=np.float32)) > 150
    second = np.array((62, 62, 70) if light else (244, 244, 240), dtype=np.float32)
    dx, dy = rng.integers(0, TILE - SIZE, 2)
    period = PERIODS[int(rng.random() * len(PERIODS))]
    cover = tile(pattern, period)[dy : dy + SIZE, dx : dx + SIZE, None]
    cloth = first * (1 - cover) + second * cover

    picture = BACKGROUNDS[int(rng.random() * len(BACKGROUNDS))] + rng.normal(0, 3, 3)
    picture = picture + (first * 0.45 + 55 - picture) * edge
    picture = picture + (cloth - picture) * body
    picture = picture + (first * 0.72 + 12 - picture) * trim
    return np.clip(picture + rng.normal(0, 2.5, (SIZE, SIZE, 1)), 0, 255).astype(np.uint8)


def _placed(part: Image.Image, side: int, left: int, top: int) -> np.ndarray:
    canvas = np.zeros((SIZE, SIZE, 1), dtype=np.float32)
    small = part.resize((side, side), Image.Resampling.BOX, (0, 0, CANVAS, CANVAS))
    canvas[top : top + side, left : left + side, 0] = np.asarray(small, dtype=np.float32) / 255
    return canvas


def encoded(picture: np.ndarray) -> bytes:
    """The JPEG bytes of a picture, [height, width, 3] uint8."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def broken(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that no decoder reads completely: truncated, noise, or empty."""
    way = int(rng.integers(3))
    if way == 0:
        return data[: len(data) // 2]
    return rng.bytes(200) if way == 1 else b""


def write_photos(
    file: BinaryIO,
    products: Products,
    states: np.ndarray,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda photos: None,
) -> list[str | None]:
    """Writes the photos and returns their column: paths in the archive, None for missing photos.

    Args:
      file: Open binary file; receives a zip archive whose members are stored uncompressed (JPEG
        does not shrink, and stored members are read directly).
      products: The catalogue.
      states: `good`, `missing` or `broken` per item.
      rng: Source of the variation between photos.
      progress: Called with 1 after each item.
    """
    members: list[str | None] = []
    colour, pattern = column("colour"), column("pattern")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for i, (kind, values, state) in enumerate(
            zip(products.types, products.attributes, states, strict=True)
        ):
            progress(1)
            if state == "missing":
                members.append(None)
                continue
            data = encoded(draw_photo(int(kind), int(values[colour]), int(values[pattern]), rng))
            if state == "broken":
                data = broken(data, rng)
            member = f"photos/{i // 1000:03d}/P{i:06d}.jpg"
            archive.writestr(zipfile.ZipInfo(member, EPOCH), data)
            members.append(member)
    return members
