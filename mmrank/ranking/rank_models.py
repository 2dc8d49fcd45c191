"""The rank models by name: how the candidates of a list influence one another's scores."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from mmrank.ranges import Count
from mmrank.ranking._library import layers
from mmrank.ranking.list_context import ListContext
from mmrank.registry import Entry, Registry


@dataclasses.dataclass(frozen=True)
class AttentionOptions:
    """Options of attention across the candidates, before they are scored.

    Attributes:
      attention_layers: Layers of TF-Ranking's attention.
      attention_heads, attention_width: Heads of each layer, and the width of each head.
    """

    attention_layers: Count = 1
    attention_heads: Count = 2
    attention_width: Count = 64


@dataclasses.dataclass(frozen=True)
class GruOptions:
    """Options of the GRU that reads candidates in the order of their scores and adjusts these.

    Attributes:
      gru_units, gru_top, gru_bidirectional: As `ListContext` takes them.
    """

    gru_units: Count = 64
    gru_top: Count | None = None
    gru_bidirectional: bool = False


@dataclasses.dataclass(frozen=True)
class AttentionGruOptions(AttentionOptions, GruOptions):
    """Options of attention and a GRU together."""


@dataclasses.dataclass(frozen=True)
class RankModel(AttentionGruOptions):
    """A rank model with its options, which makes its layers.

    Attributes:
      attends: Whether candidates influence one another by attention.
      reads: Whether they do by a GRU.
    """

    attends: bool = False
    reads: bool = False

    def make_attention(self, dropout: float) -> tf.keras.layers.Layer | None:
        """A layer that takes vectors [B, L, F] and a mask [B, L]; None without attention."""
        if not self.attends:
            return None
        return layers.DocumentInteractionAttention(
            num_heads=self.attention_heads,
            head_size=self.attention_width,
            num_layers=self.attention_layers,
            dropout=dropout,
        )

    def make_context(self, dropout: float, name: str) -> ListContext | None:
        """The layer that adjusts scores; None without a GRU."""
        if not self.reads:
            return None
        return ListContext(self.gru_units, self.gru_top, self.gru_bidirectional, dropout, name=name)


_attends = functools.partial(RankModel, attends=True)
RANK_MODELS = Registry(
    "rank model",
    {
        "none": Entry(RankModel),
        "attention": Entry(_attends, AttentionOptions),
        "gru": Entry(functools.partial(RankModel, reads=True), GruOptions),
        "attention_gru": Entry(functools.partial(_attends, reads=True), AttentionGruOptions),
    },
)
