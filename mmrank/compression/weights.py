"""A ranker's weights with fewer non-zero or fewer different numbers, changed in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

# Kernels of Dense and Conv2D layers and embedding tables, as tensorflow-model-optimization does by
# itself: biases, norms and depthwise kernels are few and weigh much.
NAMES = ("kernel", "embeddings")
FEWEST = 1024  # a smaller matrix saves nothing that matters


def compressible_weights(weights: Sequence[tf.Variable]) -> list[tf.Variable]:
    """Those of some weights that compression touches: kernels and embeddings of 1,024 or more."""
    return [
        w
        for w in weights
        if w.name.split("/")[-1].split(":")[0] in NAMES
        and w.shape.rank >= 2
        and w.shape.num_elements() >= FEWEST
    ]


def prune_weights(weights: Sequence[tf.Variable], share: float) -> None:
    """Sets the smallest numbers of each weight to zero.

    Args:
      weights: Changed in place.
      share: Of the numbers of each weight, above 0 and below 1.

    Source: Zhu and Gupta 2017, "To prune, or not to prune", section 3: masks by magnitude, here at
    once and after training.
    """
    for weight in tqdm(weights, desc="pruning", disable=None, leave=False):
        _through_layer(weight, lambda matrix: _pruned(matrix, share))


def cluster_weights(weights: Sequence[tf.Variable], clusters: int) -> None:
    """Replaces the numbers of each weight by the nearest of a few; zeros stay zeros.

    Args:
      weights: Changed in place.
      clusters: Different numbers left in each weight, beside zero where it has zeros.

    Source: Han et al. 2016, "Deep Compression", section 3; the centroids by k-means++.
    """
    for weight in tqdm(weights, desc="clustering", disable=None, leave=False):
        if len(np.unique(weight.numpy())) > clusters:
            _through_layer(weight, lambda matrix: _clustered(matrix, clusters))


def _through_layer(weight: tf.Variable, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Changes a weight of any shape by a function of matrices."""
    value = weight.numpy()
    matrix = value.reshape(-1, value.shape[-1]).astype(np.float32)
    weight.assign(change(matrix).reshape(value.shape).astype(value.dtype))


def _pruned(matrix: np.ndarray, share: float) -> np.ndarray:
    import tensorflow_model_optimization as tfmot

    sparsity = tfmot.sparsity.keras
    # The library wraps whole layers it knows; the ranker's own are none of them, so that each
    # matrix passes through a layer that has nothing else.
    schedule = sparsity.ConstantSparsity(share, begin_step=0, frequency=1)
    model = _dense_of(matrix, lambda layer: sparsity.prune_low_magnitude(layer, schedule))
    step = sparsity.UpdatePruningStep()
    step.set_model(model)
    step.on_train_begin()
    step.on_train_batch_begin(0)
    model(tf.zeros([1, matrix.shape[0]]), training=True)
    step.on_epoch_end(0)
    return sparsity.strip_pruning(model).get_weights()[0]


def _clustered(matrix: np.ndarray, clusters: int) -> np.ndarray:
    import tensorflow_model_optimization as tfmot

    clustering = tfmot.clustering.keras
    wrapped = clustering.cluster_weights(
        _dense_of(matrix),
        number_of_clusters=clusters,
        cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
    )
    found = clustering.strip_clustering(wrapped).get_weights()[0]
    return np.where(matrix == 0, 0, found)


def _dense_of(
    matrix: np.ndarray,
    wrap: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer] = lambda layer: layer,
) -> tf.keras.Model:
    """A model of one layer without a bias whose kernel is this matrix, in float32."""
    layer = tf.keras.layers.Dense(matrix.shape[1], use_bias=False, dtype=tf.float32)
    model = tf.keras.Sequential([tf.keras.Input([matrix.shape[0]]), wrap(layer)])
    layer.kernel.assign(matrix)
    return model
