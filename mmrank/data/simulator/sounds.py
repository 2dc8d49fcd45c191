"""Synthesizes recordings as short WAV files: a product that hums, beeps, rings or rustles."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
from scipy.io import wavfile

from mmrank.data.simulator.hidden import SOUND
from mmrank.data.simulator.photos import BROKEN_SHARE, EPOCH, broken
from mmrank.data.simulator.products import Products

RATE, SECONDS = 8_000, 0.5
PARTIALS = (1.0, 2.76, 5.4)  # of a struck bar, relative to the lowest


def make_sound(sound: str, rng: np.random.Generator) -> np.ndarray:
    """A recording [n] float from −1 to 1. Pitch, loudness, start time and background noise vary.

    Args:
      sound: The key of one of the values of `SOUND`.
      rng: Random generator.

    Source: Fletcher and Rossing 1998, "The physics of musical instruments", section 2.15, for the
      partials of a free bar, whose frequencies are in the ratio 1 : 2.76 : 5.40.
    """
    time = np.arange(round(SECONDS * RATE)) / RATE
    pitch = rng.uniform(0.8, 1.25)
    late = rng.uniform(0, 0.1)  # seconds
    if sound == "humming":
        wave = sum(np.sin(2 * np.pi * 120 * pitch * k * (time - late)) / k for k in (1, 2, 3, 4))
    elif sound == "beeping":
        on = (time - late) % 0.125 < 0.06
        wave = np.sin(2 * np.pi * 1200 * pitch * time) * on
    elif sound == "ringing":
        since = np.maximum(time - late, 0)
        parts = [np.sin(2 * np.pi * 600 * pitch * p * since) * np.exp(-8 * since) for p in PARTIALS]
        wave = np.sum(parts, axis=0)
    else:  # rustling
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * (6 * pitch * time + rng.random()))
        wave = rng.normal(0, 1, len(time)) * swell**2
    background = rng.normal(0, 0.01, len(time))
    return np.clip(rng.uniform(0.2, 0.6) * wave / np.abs(wave).max() + background, -1, 1)


def encoded(samples: np.ndarray) -> bytes:
    """The bytes of a mono 16-bit PCM WAV with samples [n] from −1 to 1."""
    file = io.BytesIO()
    wavfile.write(file, RATE, np.round(samples * 32767).astype(np.int16))
    return file.getvalue()


def write_sounds(
    archive: zipfile.ZipFile,
    products: Products,
    share: float,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda sounds: None,
) -> list[str | None]:
    """Writes the recordings and returns their column: paths in the archive, None for items without.

    Args:
      archive: Zip archive, open for writing.
      products: The catalogue, with the hidden attribute `SOUND`.
      share: Share of the items that have a recording, 0 to 1; a few of these files are broken.
      rng: Random generator.
      progress: Called with 1 after each item.
    """
    draws = rng.random([len(products), 2])
    members: list[str | None] = []
    for i, (value, (have, damaged)) in enumerate(
        zip(products.values_of(SOUND), draws, strict=True)
    ):
        progress(1)
        if have >= share:
            members.append(None)
            continue
        data = encoded(make_sound(SOUND.values[value].key, rng))
        if damaged < BROKEN_SHARE:
            data = broken(data, rng)
        member = f"sounds/{i // 1000:03d}/P{i:06d}.wav"
        archive.writestr(zipfile.ZipInfo(member, EPOCH), data)
        members.append(member)
    return members
