"""The outlines of the product types and the pattern tiles, drawn once and used for all photos."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmrank.data.simulator.world import PATTERNS, TYPES

CANVAS = 256  # pixels of an outline's side; photos scale it down, which smooths the edges
TILE = 128  # pixels of a pattern tile's side; a photo shows a part of it

# Per type: (layer, primitive, coordinates in hundredths of the canvas, width of lines). The layer
# `body` has colour and pattern, `trim` is a darker part of the same colour, `cut` is a hole.
_OUTLINES: dict[str, list[tuple[str, str, list[int], int]]] = {
    "dress": [
        (
            "body",
            "polygon",
            [38, 8, 44, 16, 56, 16, 62, 8, 68, 12, 63, 42, 86, 94, 14, 94, 37, 42, 32, 12],
            0,
        ),
        ("trim", "polygon", [37, 40, 63, 40, 64, 45, 36, 45], 0),
    ],
    "tshirt": [
        (
            "body",
            "polygon",
            [32, 14, 68, 14, 96, 32, 86, 50, 74, 43, 74, 90, 26, 90, 26, 43, 14, 50, 4, 32],
            0,
        ),
        ("cut", "ellipse", [39, 5, 61, 23], 0),
    ],
    "trousers": [
        ("body", "polygon", [28, 6, 72, 6, 82, 95, 59, 95, 50, 38, 41, 95, 18, 95], 0),
        ("trim", "polygon", [28, 6, 72, 6, 73, 13, 27, 13], 0),
    ],
    "skirt": [
        ("body", "polygon", [33, 22, 67, 22, 92, 82, 8, 82], 0),
        ("trim", "polygon", [33, 18, 67, 18, 68, 26, 32, 26], 0),
    ],
    "jacket": [
        (
            "body",
            "polygon",
            [
                30,
                10,
                70,
                10,
                84,
                20,
                96,
                78,
                82,
                82,
                74,
                46,
                74,
                92,
                26,
                92,
                26,
                46,
                18,
                82,
                4,
                78,
                16,
                20,
            ],
            0,
        ),
        ("trim", "polygon", [36, 8, 64, 8, 50, 36], 0),
        ("trim", "line", [50, 30, 50, 92], 6),
    ],
    "hat": [
        ("body", "polygon", [30, 66, 32, 30, 40, 24, 60, 24, 68, 30, 70, 66], 0),
        ("body", "ellipse", [4, 56, 96, 80], 0),
        ("trim", "polygon", [30, 54, 70, 54, 70, 63, 30, 63], 0),
    ],
    "handbag": [
        ("trim", "arc", [28, 8, 72, 70, 180, 360], 12),
        ("body", "polygon", [16, 40, 84, 40, 94, 90, 6, 90], 0),
        ("trim", "ellipse", [45, 44, 55, 54], 0),
    ],
    "boot": [
        ("body", "polygon", [26, 8, 58, 8, 58, 54, 84, 62, 94, 74, 94, 84, 22, 84, 24, 50], 0),
        ("trim", "polygon", [22, 83, 94, 83, 94, 91, 56, 91, 52, 87, 46, 93, 22, 93], 0),
    ],
    "phone_case": [
        ("body", "rounded", [28, 5, 72, 95], 20),
        ("trim", "rounded", [33, 10, 51, 29], 10),
        ("cut", "ellipse", [36, 12, 42, 18], 0),
        ("cut", "ellipse", [42, 20, 48, 26], 0),
    ],
    "mug": [
        ("trim", "arc", [54, 32, 94, 74, 0, 360], 16),
        ("body", "polygon", [12, 18, 70, 18, 67, 86, 15, 86], 0),
        ("trim", "ellipse", [12, 12, 70, 24], 0),
    ],
    "umbrella": [
        ("trim", "line", [50, 6, 50, 86], 8),
        ("trim", "arc", [50, 76, 68, 95, 0, 180], 8),
        ("body", "pieslice", [4, 10, 96, 106, 180, 360], 0),
        ("cut", "ellipse", [6, 52, 34, 66], 0),
        ("cut", "ellipse", [37, 52, 47, 66], 0),
        ("cut", "ellipse", [53, 52, 63, 66], 0),
        ("cut", "ellipse", [66, 52, 94, 66], 0),
    ],
    "lamp": [
        ("trim", "line", [50, 50, 50, 88], 14),
        ("trim", "ellipse", [28, 82, 72, 96], 0),
        ("body", "polygon", [36, 6, 64, 6, 90, 56, 10, 56], 0),
    ],
    "sock": [
        (
            "body",
            "polygon",
            [36, 6, 66, 6, 66, 52, 60, 66, 32, 92, 14, 92, 8, 78, 14, 70, 36, 52],
            0,
        ),
        ("trim", "polygon", [36, 6, 66, 6, 66, 17, 36, 17], 0),
    ],
    "cushion": [
        ("body", "polygon", [6, 10, 50, 16, 94, 10, 88, 50, 94, 90, 50, 84, 6, 90, 12, 50], 0),
    ],
}


@functools.cache
def outline(kind: int) -> tuple[Image.Image, Image.Image, Image.Image]:
    """The body, the trim and the outer edge of a product type.

    Returns:
      Three `L` images of `CANVAS` × `CANVAS` pixels, 255 where the part covers the pixel. The edge
      makes a white product visible on a white background.
    """
    layers = {name: Image.new("L", (CANVAS, CANVAS)) for name in ("body", "trim")}
    for layer, primitive, coordinates, width in _OUTLINES[TYPES[kind].value.key]:
        if layer == "cut":
            for image in layers.values():
                _draw(image, primitive, coordinates, width, 0)
        else:
            _draw(layers[layer], primitive, coordinates, width, 255)
            if layer == "body":  # the body hides trim drawn before it, as a mug hides its handle
                _draw(layers["trim"], primitive, coordinates, width, 0)
    whole = np.maximum(np.asarray(layers["body"]), np.asarray(layers["trim"]))
    grown = np.asarray(Image.fromarray(whole).filter(ImageFilter.MaxFilter(7)))
    return layers["body"], layers["trim"], Image.fromarray(grown - whole)


def _draw(
    image: Image.Image, primitive: str, coordinates: list[int], width: int, fill: int
) -> None:
    pen = ImageDraw.Draw(image)
    box = [c * CANVAS / 100 for c in coordinates[:4]]
    if primitive == "polygon":
        pen.polygon([c * CANVAS / 100 for c in coordinates], fill=fill)
    elif primitive == "ellipse":
        pen.ellipse(box, fill=fill)
    elif primitive == "rounded":
        pen.rounded_rectangle(box, radius=width, fill=fill)
    elif primitive == "line":
        pen.line(box, fill=fill, width=width)
    elif primitive == "arc":
        pen.arc(box, coordinates[4], coordinates[5], fill=fill, width=width)
    elif primitive == "pieslice":
        pen.pieslice(box, coordinates[4], coordinates[5], fill=fill)
    else:
        raise ValueError(f"unknown primitive {primitive!r}")


@functools.cache
def tile(pattern: int, period: int) -> np.ndarray:
    """The share of each pixel of a pattern that the second colour covers.

    Args:
      pattern: The pattern's index.
      period: Pixels after which the pattern repeats.

    Returns:
      Shares from 0 to 1, [TILE, TILE] float32.
    """
    y, x = np.mgrid[0:TILE, 0:TILE] % period
    key = PATTERNS[pattern].key
    far = np.hypot(x - period / 2, y - period / 2)
    if key == "plain":
        cover = np.zeros((TILE, TILE))
    elif key == "striped":
        cover = (y < 0.4 * period) * 1.0
    elif key == "checked":
        cover = 0.5 * (y < 0.4 * period) + 0.5 * (x < 0.4 * period)
    elif key == "dotted":
        cover = np.clip(0.3 * period - far + 0.5, 0, 1)
    elif key == "floral":
        cover = _flowers(period)
    else:
        raise ValueError(f"unknown pattern {key!r}")
    return cover.astype(np.float32)


def _flowers(period: int) -> np.ndarray:
    """Flowers of five petals around an open centre, with 1.6 times the period of other patterns."""
    period = round(1.6 * period)
    y, x = np.mgrid[0:TILE, 0:TILE]
    x = (x + (y // period % 2) * (period // 2)) % period - period / 2
    y = y % period - period / 2
    far, angle = np.hypot(x, y), np.arctan2(y, x)
    petals = period * (0.30 + 0.14 * np.cos(5 * angle))
    return np.clip(petals - far + 0.5, 0, 1) * np.clip(far - 0.10 * period + 0.5, 0, 1)
