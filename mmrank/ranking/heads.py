"""The listwise head: candidate vectors of a list → scores."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mmrank.ranking._library import layers


class ListwiseHead(tf.keras.layers.Layer):
    """Scores [B, L] float32 of candidate vectors [B, L, F].

    Masking: with attention across candidates, padding is attended to by nobody. Scores of
    padding are 0 and mean nothing.

    Args:
      hidden: Widths of the hidden layers.
      dropout: Share of units dropped in training.
      attention_layers: Layers of TF-Ranking's attention across candidates; 0 for none.
      attention_heads, attention_width: Its shape.

    Source: Pasumarthi et al. 2020, "Permutation equivariant document interaction network";
    Qin et al. 2021, "Are neural rankers still outperformed by gradient boosted decision trees?".
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...],
        dropout: float,
        attention_layers: int,
        attention_heads: int,
        attention_width: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.arguments = {
            "hidden": tuple(hidden),
            "dropout": dropout,
            "attention_layers": attention_layers,
            "attention_heads": attention_heads,
            "attention_width": attention_width,
        }
        self.attention = None
        if attention_layers:
            self.attention = layers.DocumentInteractionAttention(
                num_heads=attention_heads,
                head_size=attention_width,
                num_layers=attention_layers,
                dropout=dropout,
            )
        self.tower = layers.create_tower(
            list(hidden),
            output_units=1,
            activation=tf.nn.relu,
            use_batch_norm=False,
            dropout=dropout,
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Args: vectors [B, L, F]; mask [B, L] bool."""
        vectors, mask = inputs
        if self.attention is not None:
            seen = self.attention((vectors, mask), training=bool(training))
            vectors = tf.concat([vectors, tf.cast(seen, vectors.dtype)], -1)
        scores = tf.cast(self.tower(vectors, training=training)[..., 0], tf.float32)
        return tf.where(mask, scores, 0.0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments
