"""The towers of CLIP and SigLIP in Keras: pixels → vectors, and token ids → vectors."""

from __future__ import annotations

from typing import Any

import keras_nlp
import tensorflow as tf

from mmrank.encoders.aligned.shapes import ACTIVATIONS, CLIP, PhotoShape, Stack, TextShape
from mmrank.encoders.imported.conventions import Conventions


def block_name(number: int) -> str:
    """Returns the name of a block, from which fine-tuning reads the depth of the block."""
    return f"transformer_layer_{number}"


class PatchTokens(tf.keras.layers.Layer):
    """Tokens [N, P, D] of patches [N, P, D]: positions are added, and a class token if wanted.

    Args:
      class_token: Whether a learned token precedes the patches, which gives P + 1 tokens.

    Source: Dosovitskiy et al. 2021, "An image is worth 16x16 words", equation 1.
    """

    def __init__(self, class_token: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.class_token = class_token

    def build(self, input_shape: Any) -> None:
        _, patches, width = input_shape
        if self.class_token:
            self.first = self.add_weight("class_token", [width], initializer="random_normal")
        rows = patches + int(self.class_token)
        self.positions = self.add_weight("positions", [rows, width], initializer="random_normal")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        tokens = inputs
        if self.class_token:
            first = tf.zeros_like(tokens[:, :1]) + tf.cast(self.first, tokens.dtype)
            tokens = tf.concat([first, tokens], 1)
        return tokens + tf.cast(self.positions, tokens.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"class_token": self.class_token}


class Block(tf.keras.layers.Layer):
    """Tokens [N, T, D] of tokens [N, T, D]: attention, then a dense block, each normalised first.

    Args:
      stack: Sizes, activation and epsilon.
      causal: Whether a token attends to earlier tokens only.

    Source: Vaswani et al. 2017, "Attention is all you need", with the norms of Dosovitskiy et al.
      2021, equations 2 and 3.
    """

    def __init__(self, stack: Stack, causal: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.causal = causal
        self.attention_norm = _norm(stack, "attention_norm")
        self.attention = tf.keras.layers.MultiHeadAttention(
            stack.heads, stack.hidden // stack.heads, name="attention"
        )
        self.dense_norm = _norm(stack, "dense_norm")
        activation = ACTIVATIONS[stack.activation]
        self.between = tf.keras.layers.Dense(stack.intermediate, activation, name="between")
        self.last = tf.keras.layers.Dense(stack.hidden, name="last")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        seen = self.attention_norm(inputs)
        tokens = inputs + self.attention(seen, seen, use_causal_mask=self.causal)
        return tokens + self.last(self.between(self.dense_norm(tokens)))


class AttentionPooling(tf.keras.layers.Layer):
    """Vectors [N, D] of tokens [N, T, D]: attention of a learned query, then a dense block.

    Args:
      stack: Sizes, activation and epsilon, as for a block.

    Source: Lee et al. 2019, "Set transformer", section 3.2, with one seed; Zhai et al. 2022,
      "Scaling vision transformers", section 3.2.
    """

    def __init__(self, stack: Stack, **kwargs: Any):
        super().__init__(**kwargs)
        self.attention = tf.keras.layers.MultiHeadAttention(
            stack.heads, stack.hidden // stack.heads, name="attention"
        )
        self.norm = _norm(stack, "norm")
        activation = ACTIVATIONS[stack.activation]
        self.between = tf.keras.layers.Dense(stack.intermediate, activation, name="between")
        self.last = tf.keras.layers.Dense(stack.hidden, name="last")

    def build(self, input_shape: Any) -> None:
        self.query = self.add_weight("query", [1, input_shape[-1]], initializer="random_normal")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        query = tf.zeros_like(inputs[:, :1]) + tf.cast(self.query, inputs.dtype)
        pooled = self.attention(query, inputs)
        return (pooled + self.last(self.between(self.norm(pooled))))[:, 0]


class LastToken(tf.keras.layers.Layer):
    """Vectors [N, D] of the last tokens of texts, from tokens [N, T, D] and their mask [N, T]."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        vectors, mask = inputs
        return tf.gather(vectors, tf.reduce_sum(tf.cast(mask, tf.int32), -1) - 1, batch_dims=1)


class FirstToken(tf.keras.layers.Layer):
    """Vectors [N, D] of the first of tokens [N, T, D]."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[:, 0]


def photo_tower(shape: PhotoShape, conventions: Conventions) -> tf.keras.Model:
    """Returns a model from pixels [N, size, size, 3], 0 to 255, to vectors [N, width].

    Args:
      shape: The architecture.
      conventions: The scale of pixels.

    Source: Radford et al. 2021, "Learning transferable visual models from natural language
      supervision", section 2.4; Zhai et al. 2023, "Sigmoid loss for language image pre-training".

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.encoders.aligned.shapes import PhotoShape, Stack
      >>> from mmrank.encoders.imported.conventions import Conventions
      >>> stack = Stack(
      ...     hidden=8, layers=1, heads=2, intermediate=16, activation="gelu", epsilon=1e-6
      ... )
      >>> shape = PhotoShape("siglip", stack, size=8, patch=4, width=8)
      >>> photo_tower(shape, Conventions())(tf.zeros([2, 8, 8, 3])).shape
      TensorShape([2, 8])
    """
    stack, clip = shape.stack, shape.kind == CLIP
    pixels = tf.keras.Input((shape.size, shape.size, 3))
    cut = tf.keras.layers.Conv2D(
        stack.hidden, shape.patch, shape.patch, use_bias=not clip, name="patches"
    )(conventions.scaled(pixels))
    tokens = tf.keras.layers.Reshape([shape.patches, stack.hidden], name="in_a_row")(cut)
    tokens = PatchTokens(clip, name="patch_tokens")(tokens)
    if clip:
        tokens = _norm(stack, "first_norm")(tokens)
    for number in range(stack.layers):
        tokens = Block(stack, causal=False, name=block_name(number))(tokens)
    if not clip:
        tokens = _norm(stack, "last_norm")(tokens)
        return tf.keras.Model(pixels, AttentionPooling(stack, name="pooling")(tokens))
    pooled = _norm(stack, "last_norm")(FirstToken(name="pooling")(tokens))
    projection = tf.keras.layers.Dense(shape.width, use_bias=False, name="projection")
    return tf.keras.Model(pixels, projection(pooled))


def text_tower(shape: TextShape) -> tf.keras.Model:
    """Returns a model from token ids [N, T] and their mask [N, T] to vectors [N, width].

    The vector is that of a text's last token under the mask, as in the training of these towers.
    CLIP's tokens attend to earlier tokens only, so padding after the last one has no effect.
    SigLIP's texts always have all T tokens, so padding is a part of them.

    Args:
      shape: The architecture.

    Source: Radford et al. 2021, section 2.4; Zhai et al. 2023.

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.encoders.aligned.shapes import Stack, TextShape
      >>> stack = Stack(
      ...     hidden=8, layers=1, heads=2, intermediate=16, activation="gelu", epsilon=1e-5
      ... )
      >>> shape = TextShape("clip", stack, vocabulary_size=10, positions=6, width=4)
      >>> ids, mask = tf.constant([[3, 5, 0]]), tf.constant([[1, 1, 0]])
      >>> text_tower(shape)([ids, mask]).shape
      TensorShape([1, 4])
    """
    stack, clip = shape.stack, shape.kind == CLIP
    ids = tf.keras.Input((None,), dtype=tf.int32, name="ids")
    mask = tf.keras.Input((None,), dtype=tf.int32, name="mask")
    tokens = keras_nlp.layers.TokenAndPositionEmbedding(
        shape.vocabulary_size, shape.positions, stack.hidden, name="embeddings"
    )(ids)
    for number in range(stack.layers):
        tokens = Block(stack, causal=clip, name=block_name(number))(tokens)
    tokens = _norm(stack, "last_norm")(tokens)
    pooled = LastToken(name="pooling")((tokens, mask))
    projection = tf.keras.layers.Dense(shape.width, use_bias=not clip, name="projection")
    return tf.keras.Model([ids, mask], projection(pooled), name="text_tower")


def _norm(stack: Stack, name: str) -> tf.keras.layers.Layer:
    return tf.keras.layers.LayerNormalization(epsilon=stack.epsilon, name=name)
