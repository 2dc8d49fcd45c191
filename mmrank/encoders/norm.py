"""The layer normalisation that all our layers use."""

from __future__ import annotations

import tensorflow as tf

# With an epsilon above 1.001e-5 Keras uses a fused batch normalisation. Its oneDNN kernel keeps the
# state of one call where other threads change it, so a server that answers two requests at once
# corrupts its memory. TensorFlow fixed that in 2025 (its pull request 99852).
EPSILON = 1e-5


def layer_norm(name: str | None = None) -> tf.keras.layers.LayerNormalization:
    """Returns a layer normalisation that several threads may run at once."""
    return tf.keras.layers.LayerNormalization(epsilon=EPSILON, name=name)
