"""Pruned and clustered weights, against plain NumPy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mmrank.compression.weights import cluster_weights, compressible_weights, prune_weights
from mmrank.versions import version_set_of


def weight(*shape: int, seed: int = 1) -> tf.Variable:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return tf.Variable(values, name="kernel")


KERAS = """
import os, sys
import numpy as np
import tensorflow as tf
from mmrank.compression.weights import prune_weights
weight = tf.Variable(np.arange(1024.0).reshape(32, 32), name="kernel", dtype=tf.float32)
before = os.environ.get("TF_USE_LEGACY_KERAS")
prune_weights([weight], 0.5)
tf.compat.v1.keras.models
assert os.environ.get("TF_USE_LEGACY_KERAS") == before
print("tf_keras" in sys.modules)
"""


def test_keras_stays_one_library() -> None:
    """tf-keras is imported only in the version sets that use it as Keras 2."""
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(version_set_of().legacy_keras)


def test_large_kernels_and_embeddings_are_chosen() -> None:
    inputs = tf.keras.Input([40, 40, 3])
    x = tf.keras.layers.Conv2D(64, 3, name="conv")(inputs)  # 1,728 numbers
    x = tf.keras.layers.DepthwiseConv2D(5)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    words = tf.keras.layers.Embedding(300, 8, name="words")  # 2,400
    x = tf.concat([x, tf.reduce_mean(words(tf.cast(x, tf.int32)), 1)], -1)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(10, name="small")(x))  # 720 numbers
    chosen = compressible_weights(model.weights)
    assert [w.name for w in chosen] == ["conv/kernel:0", "words/embeddings:0"]


@pytest.mark.parametrize("shape", [(50, 40), (3, 3, 8, 20)])
def test_the_smallest_numbers_become_zero(shape: tuple[int, ...]) -> None:
    pruned = weight(*shape)
    before = pruned.numpy()
    prune_weights([pruned], 0.7)
    after = pruned.numpy()
    zeros = round(0.7 * before.size)
    threshold = np.sort(np.abs(before), axis=None)[zeros]
    assert np.array_equal(after, np.where(np.abs(before) >= threshold, before, 0))


def test_numbers_move_to_the_nearest_cluster() -> None:
    clustered = weight(60, 30)
    before = clustered.numpy()
    cluster_weights([clustered], 16)
    after = clustered.numpy()
    few = np.unique(after)
    assert len(few) <= 16
    nearest = np.abs(before[..., None] - few).min(-1)
    assert np.allclose(np.abs(before - after), nearest, atol=1e-6)
    # An even grid of 16 values over the same range has a mean squared error of step² / 12.
    step = (before.max() - before.min()) / 16
    assert np.square(before - after).mean() < step**2 / 12


def test_zeros_stay_zeros_and_the_choice_is_the_same_again() -> None:
    one, other = weight(60, 30), weight(60, 30)
    for w in (one, other):
        prune_weights([w], 0.5)
        zero = w.numpy() == 0
        cluster_weights([w], 8)
        assert np.all(w.numpy()[zero] == 0)
        assert zero.mean() == 0.5
    assert np.array_equal(one.numpy(), other.numpy())


def test_few_numbers_are_left_as_they_are() -> None:
    few = tf.Variable(np.tile([[1.0, 2.0, 3.0]], [400, 1]), name="kernel", dtype=tf.float32)
    before = few.numpy()
    cluster_weights([few], 4)
    assert np.array_equal(few.numpy(), before)


def test_half_precision_is_kept() -> None:
    half = tf.Variable(tf.cast(weight(40, 30), tf.float16), name="kernel")
    prune_weights([half], 0.5)
    assert half.dtype == tf.float16
    assert np.mean(half.numpy() == 0) >= 0.5
