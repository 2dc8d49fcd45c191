"""Fusion by cross-attention: query and user attend to the modality tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from mmrank.encoders.norm import layer_norm
from mmrank.fusion import base
from mmrank.ranges import Count, Dropped


@dataclasses.dataclass(frozen=True)
class CrossAttentionOptions:
    """Options of `CrossAttention`.

    Attributes:
      heads: Attention heads.
      dropout: On the attention weights.
    """

    heads: Count = 4
    dropout: Dropped = 0.1


class CrossAttention(base.Fusion):
    """Vectors [B, L, F]: what each context reads from a candidate's tokens, and similarities.

    Masking: absent tokens get no attention. A candidate with no token present reads the learned
    embeddings of absence instead.

    Args:
      heads, dropout: As in `CrossAttentionOptions`.

    Source: Vaswani et al. 2017, "Attention is all you need", equation 1 with query ≠ key.

    Example:
      What one context reads, its product with the context, two similarities, two flags and the
      context:

      >>> import tensorflow as tf
      >>> tokens, present = tf.ones([1, 3, 2, 4]), tf.ones([1, 3, 2], tf.bool)
      >>> fusion = CrossAttention(heads=2)
      >>> fusion((tokens, present, tf.ones([1, 1, 4]), tf.constant([[True]]))).shape
      TensorShape([1, 3, 16])
    """

    def __init__(
        self,
        heads: int = CrossAttentionOptions.heads,
        dropout: float = CrossAttentionOptions.dropout,
        **kwargs: Any,
    ):
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
