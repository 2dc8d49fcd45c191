"""Fusion by a transformer: the modality tokens of a candidate look at one another."""

from __future__ import annotations

from typing import Any

import keras_nlp
import tensorflow as tf

from mmrank.fusion.pooled import Pooled, mean_of


class Transformer(Pooled):
    """Vectors [B, L, F] around the mean of a candidate's tokens after self-attention among them.

    A learned embedding of the modality is added to each token first. Every layer is multi-head
    self-attention and a feed-forward network, each with dropout, residual and normalisation.

    Masking: absent tokens get no attention and are left out of the mean.

    Args:
      layers: Layers of attention, 1 or more.
      heads: Attention heads; at most D.
      feed_forward: Width of the feed-forward network.
      dropout: On attention weights and the output of each half of a layer.

    Raises:
      ValueError: A number of layers, heads or units below 1.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.1, with learned modality
    embeddings in place of positions, as the segment embeddings of Devlin et al. 2019 (BERT).
    """

    def __init__(
        self,
        layers: int = 1,
        heads: int = 4,
        feed_forward: int = 128,
        dropout: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (("layers", layers), ("heads", heads), ("feed_forward", feed_forward)):
            if value < 1:
                raise ValueError(f"fusion transformer: {name}: expected 1 or more, got {value}")
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
