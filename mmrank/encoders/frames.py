"""Layers over clips: a tower on every frame with attention over time, or a TF-Hub model."""

from __future__ import annotations

from typing import Any

import keras_nlp
import tensorflow as tf
import tensorflow_hub

from mmrank.encoders.norm import layer_norm
from mmrank.encoders.tokens import PresentOnly


def frames_there(clips: tf.Tensor) -> tf.Tensor:
    """Returns which frames of clips [N, F, height, width, 3] from `decode_strip` are present."""
    return clips[:, :, 0, 0, 0] > 0


class FrameAttention(tf.keras.layers.Layer):
    """Embeddings [N, D] of clips [N, F, height, width, 3] uint8, as `decode_strip` returns them.

    One tower encodes every frame, a learned vector is added for its position in time, and a learned
    query attends over the frames.

    Masking: missing frames reach neither the tower nor the attention. A clip without any frame
    gives some finite embedding.

    Args:
      tower: Pixels [N', height, width, 3] → features [N', D'].
      width: D.
      heads: Attention heads.

    Source: attention of a learned seed as in Lee et al. 2019, "Set Transformer", section 3.2;
      learned positions as in Gehring et al. 2017, "Convolutional sequence to sequence learning".
    """

    def __init__(self, tower: tf.keras.Model, width: int, heads: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.width, self.heads = width, heads
        self.tower = PresentOnly(tower, name="frame_tower")
        self.projection = tf.keras.layers.Dense(width, "relu")
        self.norm = layer_norm()
        self.attention = tf.keras.layers.MultiHeadAttention(heads, max(1, width // heads))

    def build(self, input_shape: Any) -> None:
        self.positions = keras_nlp.layers.PositionEmbedding(input_shape[1])
        self.query = self.add_weight("query", [1, 1, self.width], initializer="glorot_uniform")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        there = frames_there(inputs)
        shape = tf.shape(there)
        flat = tf.reshape(inputs, [-1, *inputs.shape[2:]])
        features = self.tower((flat, tf.reshape(there, [-1])), training=training)
        frames = self.projection(features)
        frames = tf.reshape(frames, [shape[0], inputs.shape[1], self.width])
        frames = self.norm(frames + tf.cast(self.positions(frames), frames.dtype))
        query = tf.repeat(tf.cast(self.query, frames.dtype), shape[0], axis=0)
        return self.attention(query, frames, attention_mask=there[:, None])[:, 0]


class HubClips(tensorflow_hub.KerasLayer):
    """Embeddings [N, D] of clips [N, F, height, width, 3] uint8, as `decode_strip` returns them.

    Masking: the last frame that is present replaces missing ones.

    Args:
      handle: URL or local folder of a model from clips [N, F, height, width, 3] float32, 0 to 1.
      trainable: Whether the model continues to learn.
      named: Name of the model's input, or the empty text if it takes a tensor.
    """

    def __init__(self, handle: str, trainable: bool, named: str = "", **kwargs: Any):
        super().__init__(handle, trainable=trainable, dtype=tf.float32, autocast=False, **kwargs)
        self.named = named

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        count = tf.reduce_sum(tf.cast(frames_there(inputs), tf.int32), 1, keepdims=True)
        order = tf.minimum(tf.range(inputs.shape[1])[None], tf.maximum(count - 1, 0))
        clips = tf.cast(tf.gather(inputs, order, batch_dims=1), tf.float32) / 255.0
        clips = tf.ensure_shape(clips, inputs.shape)
        return super().call({self.named: clips} if self.named else clips, training=training)
