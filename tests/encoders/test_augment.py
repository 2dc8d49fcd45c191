"""Photos changed in training: a random part of each, and no change outside training."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mmrank.encoders.augment import RandomPart, changes


def slopes(count: int) -> tf.Tensor:
    """Photos [N, 32, 32, 3]: red increases downwards, green to the right, each by one per pixel."""
    y, x = np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij")
    return tf.constant(np.stack(count * [np.stack([y, x, 0 * x], -1)]), tf.float32)


def test_a_part_is_a_window_of_the_photo():
    """On linear gradients the extent of a window can be read from its corners."""
    part = RandomPart(0.25)
    photos = slopes(200)
    np.testing.assert_array_equal(part(photos, training=False), photos)
    given = part(photos, training=True).numpy()
    assert given.shape == photos.shape
    height = (given[:, -1, 0, 0] - given[:, 0, 0, 0]) / 31
    width = (given[:, 0, -1, 1] - given[:, 0, 0, 1]) / 31
    area, ratio = height * width, width / height
    assert area.min() > 0.2  # a window cut off at the photo's edge has slightly less area
    assert area.max() <= 1
    assert area.min() < 0.35
    assert area.max() > 0.8
    assert 0.74 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.34
    for plane in (given[:, 0, 0, 0], given[:, 0, 0, 1]):
        assert plane.min() >= 0
        assert plane.std() > 1
    # Between the edges the gradients stay linear.
    np.testing.assert_allclose(np.diff(given[..., 0], 2, axis=1), 0, atol=1e-4)


def test_the_random_generator_exists_once_the_layer_is_built():
    """Training seeds all generators at the start of an epoch."""
    part = RandomPart(0.3)
    pixels = tf.keras.Input((32, 32, 3))
    part(pixels)
    draws = []
    for _ in range(2):
        part._random_generator._generator.reset_from_seed(7)
        draws.append(part(slopes(2), training=True))
    np.testing.assert_array_equal(*draws)
    assert (part(slopes(2), training=True).numpy() != draws[0].numpy()).any()


def test_only_requested_changes_are_made():
    assert changes(flip=False, smallest_part=1, brightness=0, contrast=0) == []
    made = changes(flip=True, smallest_part=0.5, brightness=0.1, contrast=0.2)
    names = ["RandomFlip", "RandomPart", "RandomBrightness", "RandomContrast"]
    assert [type(layer).__name__ for layer in made] == names
    photos = slopes(2) + 100
    for layer in made:
        np.testing.assert_array_equal(layer(photos, training=False), photos)
        changed = [layer(photos, training=True).numpy() for _ in range(9)]
        assert any((c != photos.numpy()).any() for c in changed)
        assert all(c.min() >= 0 and c.max() <= 255 for c in changed)
