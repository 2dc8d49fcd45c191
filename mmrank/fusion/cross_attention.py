"""Fusion by cross-attention: query and shopper look over the modality tokens."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.encoders.norm import layer_norm
from mmrank.fusion import base


class CrossAttention(base.Fusion):
    """Vectors [B, L, F]: what each context reads from a candidate's tokens, and similarities.

    Masking: absent tokens get no attention. A candidate with no token present reads the learned
    embeddings of absence instead.

    Args:
      heads: Attention heads.
      dropout: On the attention weights.

    Source: Vaswani et al. 2017, "Attention is all you need", equation 1 with query ≠ key.
    """

    def __init__(self, heads: int = 4, dropout: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout

    def build(self, input_shape: Any) -> None:
        width = input_shape[0][-1]
        self.attention = tf.keras.layers.MultiHeadAttention(
            self.heads, max(width // self.heads, 8), dropout=self.dropout
        )
        self.norm = layer_norm()
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...], training: bool | None = None) -> tf.Tensor:
        tokens, present, contexts, contexts_present = inputs
        shape = tf.shape(tokens)
        batch, length = shape[0], shape[1]
        count, width = tokens.shape[2], tokens.shape[3]
        asking = contexts.shape[1]
        queries = tf.repeat(contexts, length, axis=0)
        read = self.attention(
            queries,
            tf.reshape(tokens, [-1, count, width]),
            attention_mask=tf.reshape(base.visible(present), [-1, 1, count]),
            training=training,
        )
        read = self.norm(read + queries)
        read = tf.reshape(read, [batch, length, asking, width])
        both = tf.cast(base.pair_presence(present, contexts_present), tokens.dtype)
        similar = base.similarities(tokens, contexts) * both
        return tf.concat(
            [
                base.flatten(read, 2),
                base.flatten(read * contexts[:, None], 2),
                base.flatten(similar, 2),
                tf.cast(present, tokens.dtype),
                base.per_candidate(contexts, length),
            ],
            axis=-1,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"heads": self.heads, "dropout": self.dropout}
