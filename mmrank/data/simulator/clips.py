"""Draws clips as animated GIFs: a product that swings, bounces, spins or blinks."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from mmrank.data.simulator.hidden import MOTION
from mmrank.data.simulator.photos import BACKGROUNDS, BROKEN_SHARE, EPOCH, PALETTE, broken
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.shapes import outline
from mmrank.data.simulator.world import column

SIZE, FRAMES = 32, 12  # pixels of a side, frames of a clip
SIDE = 18  # pixels of the product's side
REACH = 7  # pixels that the product moves to either side
MILLISECONDS = 100  # per frame


def draw_clip(kind: int, colour: int, motion: str, rng: np.random.Generator) -> list[Image.Image]:
    """The frames of one product in motion. Background, shade and phase vary."""
    body = outline(kind)[0].resize((SIDE, SIDE), Image.Resampling.BOX)
    shade = np.clip(PALETTE[colour] + rng.normal(0, 7, 3), 0, 255).astype(int)
    ground = BACKGROUNDS[int(rng.random() * len(BACKGROUNDS))].astype(int)
    phase = int(rng.integers(FRAMES))
    frames = []
    for i in range(FRAMES):
        turn = (i + phase) / FRAMES  # one full turn per clip, so that it loops
        shape = body.rotate(360 * turn) if motion == "spinning" else body
        offset = round(REACH * np.sin(2 * np.pi * turn))
        across = offset if motion == "swinging" else 0
        down = offset if motion == "bouncing" else 0
        frame = Image.new("RGB", (SIZE, SIZE), tuple(ground))
        if motion != "blinking" or (i + phase) % 4 < 2:
            margin = (SIZE - SIDE) // 2
            frame.paste(tuple(shade), (margin + across, margin + down), shape)
        frames.append(frame)
    return frames


def encoded(frames: list[Image.Image]) -> bytes:
    """The bytes of an animated GIF."""
    first, *others = (frame.quantize(16) for frame in frames)
    file = io.BytesIO()
    first.save(
        file, "GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0, disposal=1
    )
    return file.getvalue()


def write_clips(
    archive: zipfile.ZipFile,
    products: Products,
    share: float,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda clips: None,
) -> list[str | None]:
    """Writes the clips and returns their column: paths in the archive, None for items without clip.

    Args:
      archive: Zip archive, open for writing.
      products: The catalogue, with the hidden attribute `MOTION`.
      share: Share of the items that have a clip, 0 to 1; a few of these files are broken.
      rng: Random generator.
      progress: Called with 1 after each item.
    """
    motions = [MOTION.values[v].key for v in products.values_of(MOTION)]
    colours = products.attributes[:, column("colour")]
    draws = rng.random([len(products), 2])
    members: list[str | None] = []
    for i, (motion, (have, damaged)) in enumerate(zip(motions, draws, strict=True)):
        progress(1)
        if have >= share:
            members.append(None)
            continue
        data = encoded(draw_clip(int(products.types[i]), int(colours[i]), motion, rng))
        if damaged < BROKEN_SHARE:
            data = broken(data, rng)
        member = f"clips/{i // 1000:03d}/P{i:06d}.gif"
        archive.writestr(zipfile.ZipInfo(member, EPOCH), data)
        members.append(member)
    return members
