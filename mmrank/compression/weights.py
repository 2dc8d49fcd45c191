"""Changes a ranker's weights in place, to fewer non-zero or fewer distinct numbers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mmrank.versions import LEGACY_KERAS

# Kernels of Dense and Conv2D layers and embedding tables, the default choice of
# tensorflow-model-optimization: biases, norms and depthwise kernels have few numbers, and the
# scores depend strongly on them.
NAMES = ("kernel", "embeddings")
FEWEST = 1024  # compressing a smaller matrix saves too little


def compressible_weights(weights: Sequence[tf.Variable]) -> list[tf.Variable]:
    """Returns the weights that compression changes: kernels and embeddings of 1,024 or more."""
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
      weights: Kernels and embeddings [..., outputs], changed in place.
      share: Share of the numbers of each weight to set to zero, above 0 and below 1.

    Source: Zhu and Gupta 2017, "To prune, or not to prune", section 3: masks by magnitude, here in
    one step and after training.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> kernel = tf.Variable(np.array([[1.0, -8.0], [0.5, 4.0]], np.float32))
      >>> prune_weights([kernel], share=0.5)
      >>> kernel.numpy().tolist()
      [[0.0, -8.0], [0.0, 4.0]]
    """
    for weight in tqdm(weights, desc="pruning", disable=None, leave=False):
        _through_layer(weight, lambda matrix: _pruned(matrix, share))


def cluster_weights(weights: Sequence[tf.Variable], clusters: int) -> None:
    """Replaces the numbers of each weight by the nearest of a few numbers; zeros stay zeros.

    Args:
      weights: Kernels and embeddings [..., outputs], changed in place.
      clusters: Number of distinct numbers left in each weight, not counting zero.

    Source: Han et al. 2016, "Deep Compression", section 3; the centroids by k-means++.

    Example:
      >>> import numpy as np
      >>> import tensorflow as tf
      >>> kernel = tf.Variable(np.array([[1.0, 1.2], [5.0, 5.2]], np.float32))
      >>> cluster_weights([kernel], clusters=2)
      >>> len(np.unique(kernel.numpy()))
      2
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
    sparsity = _library().sparsity.keras
    # The library wraps whole layers of known classes, and does not know the ranker's own. So each
    # matrix is pruned as the kernel of a separate Dense layer.
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
    clustering = _library().clustering.keras
    wrapped = clustering.cluster_weights(
        _dense_of(matrix),
        number_of_clusters=clusters,
        cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
    )
    found = clustering.strip_clustering(wrapped).get_weights()[0]
    return np.where(matrix == 0, 0, found)


def _library() -> Any:
    """Returns TensorFlow Model Optimization, imported so that Keras stays one library.

    Its import sets TF_USE_LEGACY_KERAS. TensorFlow 2.15 has Keras 2 anyway, but what it imports
    lazily from then on would be a second copy, tf-keras, and loading a model would mix both.
    """
    for keras in (tf.keras, tf.compat.v1.keras, tf.compat.v2.keras):
        _ = keras.layers  # imports it now
    before = os.environ.get(LEGACY_KERAS)
    library = importlib.import_module("tensorflow_model_optimization")
    if before is None:
        os.environ.pop(LEGACY_KERAS, None)
    return library


def _dense_of(
    matrix: np.ndarray,
    wrap: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer] = lambda layer: layer,
) -> tf.keras.Model:
    """Returns a model of one layer without a bias whose kernel is this matrix, in float32."""
    layer = tf.keras.layers.Dense(matrix.shape[1], use_bias=False, dtype=tf.float32)
    model = tf.keras.Sequential([tf.keras.Input([matrix.shape[0]]), wrap(layer)])
    layer.kernel.assign(matrix)
    return model
