"""Photos of other proportions, padded, cropped and stretched, against Pillow."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from mmrank.encoders.fitting import CROP, PAD, STRETCH, fitted

FILTERS = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos3": PIL.Image.Resampling.LANCZOS,
}


def noise(height: int, width: int) -> np.ndarray:
    """A picture with detail, smooth enough that Pillow's rounding between its passes is small."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 3 + c) * np.cos(y / 4 - c) for c in range(3)]
    return (127 + 120 * np.stack(waves, -1)).round().astype(np.uint8)


def made(pixels: np.ndarray, *arguments: object) -> np.ndarray:
    return fitted(tf.constant(pixels), *arguments).numpy().astype(int)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", [(50, 70), (90, 41), (20, 30), (32, 32)])
def test_cropped_as_pillow_scales_the_shorter_side_and_crops(shape, interpolation):
    pixels = noise(*shape)
    high, wide = (32 * edge // min(shape) for edge in shape)
    whole = PIL.Image.fromarray(pixels).resize((wide, high), FILTERS[interpolation])
    top, left = (high - 32) // 2, (wide - 32) // 2
    expected = np.asarray(whole, int)[top : top + 32, left : left + 32]
    assert np.abs(made(pixels, 32, 32, CROP, interpolation) - expected).max() <= 2


@pytest.mark.parametrize("interpolation", FILTERS)
def test_stretched_as_pillow_stretches(interpolation):
    pixels = noise(50, 70)
    whole = PIL.Image.fromarray(pixels).resize((32, 32), FILTERS[interpolation])
    given = made(pixels, 32, 32, STRETCH, interpolation)
    assert np.abs(given - np.asarray(whole, int)).max() <= 2


def test_padded_photos_are_whole():
    given = made(np.zeros([64, 32, 3], np.uint8), 32, 32, PAD, "bicubic")
    expected = np.full([32, 32, 3], 255)
    expected[:, 8:24] = 0
    np.testing.assert_array_equal(given, expected)


def test_a_photo_of_one_row_is_cropped_before_it_is_scaled():
    """Scaled first by its shorter side to 640 rows, it would have 640,000 columns: 4 GB."""
    given = made(np.full([1, 1000, 3], 9, np.uint8), 640, 640, CROP, "bicubic")
    assert (given == 9).all()
