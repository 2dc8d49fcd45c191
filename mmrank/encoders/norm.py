"""The layer normalisation of every layer of ours."""

from __future__ import annotations

import tensorflow as tf

# With more than 1.001e-5 Keras makes it a fused batch normalisation, whose oneDNN kernel keeps what
# belongs to one call where other threads change it: a server that answers two requests at once
# corrupts its memory. TensorFlow mended that in 2025 (its pull request 99852).
EPSILON = 1e-5


def layer_norm(name: str | None = None) -> tf.keras.layers.LayerNormalization:
    """A layer normalisation that several threads may run at once."""
    return tf.keras.layers.LayerNormalization(epsilon=EPSILON, name=name)
