"""Fusion by a transformer: the modality tokens of a candidate attend to one another."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras_nlp
import tensorflow as tf

from mmrank.fusion.pooled import Pooled, mean_of
from mmrank.ranges import Count, Dropped


@dataclasses.dataclass(frozen=True)
class TransformerOptions:
    """Options of `Transformer`.

    Attributes:
      layers: Layers of attention.
      heads: Attention heads; at most D.
      feed_forward: Width of the feed-forward network.
      dropout: On attention weights and the output of each half of a layer.
    """

    layers: Count = 1
    heads: Count = 4
    feed_forward: Count = 128
    dropout: Dropped = 0.1


class Transformer(Pooled):
    """Vectors [B, L, F] around the mean of a candidate's tokens after self-attention among them.

    A learned embedding of the modality is added to each token first. Every layer is multi-head
    self-attention and a feed-forward network, each with dropout, residual and normalisation.

    Masking: absent tokens get no attention and are left out of the mean.

    Args:
      layers, heads, feed_forward, dropout: As in `TransformerOptions`.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1, with learned modality
    embeddings in place of positions, like the segment embeddings of Devlin et al. 2019 (BERT).

    Example:
      The pooled token, its product and similarity with the context, two flags and the context:

      >>> import tensorflow as tf
      >>> tokens, present = tf.ones([1, 3, 2, 4]), tf.ones([1, 3, 2], tf.bool)
      >>> fusion = Transformer(layers=1, heads=2, feed_forward=8)
      >>> fusion((tokens, present, tf.ones([1, 1, 4]), tf.constant([[True]]))).shape
      TensorShape([1, 3, 15])
    """

    def __init__(
        self,
        layers: int = TransformerOptions.layers,
        heads: int = TransformerOptions.heads,
        feed_forward: int = TransformerOptions.feed_forward,
        dropout: float = TransformerOptions.dropout,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.layers, self.heads = layers, heads
        self.feed_forward, self.dropout = feed_forward, dropout
        self.blocks = [
            keras_nlp.layers.TransformerEncoder(
                feed_forward, heads, dropout=dropout, activation="gelu", name=f"block_{i}"
            )
            for i in range(layers)
        ]

    def build(self, input_shape: Any) -> None:
        self.kinds = self.add_weight(
            "modality_embedding",
            [input_shape[0][2], input_shape[0][3]],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        super().build(input_shape)

    def pool(self, tokens: tf.Tensor, visible: tf.Tensor, training: bool | None) -> tf.Tensor:
        count, width = tokens.shape[2:]
        x = tf.reshape(tokens + tf.cast(self.kinds, tokens.dtype), [-1, count, width])
        mask = tf.reshape(visible, [-1, count])
        for block in self.blocks:
            x = block(x, padding_mask=mask, training=training)
        return mean_of(tf.reshape(x, tf.shape(tokens)), visible)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "layers": self.layers,
            "heads": self.heads,
            "feed_forward": self.feed_forward,
            "dropout": self.dropout,
        }
