"""Behaviour: attention over the user's event history, on the candidates' own embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError, from_mapping
from mmrank.encoders.norm import layer_norm
from mmrank.encoders.word_rows import NamedRows, Rows
from mmrank.ranges import Count, Dropped, Range, Weight
from mmrank.schema import Feature

DAY = 86_400.0
NEGATIVES = 4


@dataclasses.dataclass(frozen=True)
class HistoryOptions:
    """Options of the event history.

    Attributes:
      length: How many of the latest events are used.
      heads: Attention heads.
      dropout: Dropout on the attention weights.
      event_dropout: Share of events that training hides.
      age_steps: Buckets of the age of an event, on a logarithmic scale.
      collaborative_weight: Weight of a collaborative loss added to the ranking loss. With it,
        affinities learn to distinguish the user's own events from those of other lists in the
        batch.
    """

    length: Count = 20
    heads: Count = 4
    dropout: Dropped = 0.1
    event_dropout: Dropped = 0.1
    age_steps: Annotated[int, Range(2)] = 16
    collaborative_weight: Weight = 0.0


class History:
    """The history of a user: the latest events before a list, with their types and ages.

    Attributes:
      types: Known event types; type i has number i + 1, and 0 means any other type.
    """

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        where = f"feature {feature.name!r} (history)"
        if feature.side != "user":
            raise ConfigError(f"{where}: cannot be on side {feature.side!r}; use user")
        self.feature = feature
        self.options = from_mapping(HistoryOptions, {**feature.options, **options}, where)
        self.types: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The feature's name, with which the names of the model's inputs begin."""
        return self.feature.name

    def fit(self, types: pd.Series | None) -> None:
        """Learns the event types that occur; None means events without a type."""
        known = [] if types is None else sorted(set(types.dropna().astype(str)))
        self.types = tuple(known)

    def state(self) -> dict[str, Any]:
        """Returns the known event types, as JSON."""
        return {"types": list(self.types)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned."""
        self.types = tuple(state["types"])

    def numbers(self, types: pd.Series | None, events: int) -> np.ndarray:
        """Returns type numbers [events] int32."""
        if types is None:
            return np.zeros(events, np.int32)
        table = {t: i + 1 for i, t in enumerate(self.types)}
        return types.astype("string").map(table).fillna(0).to_numpy(dtype=np.int32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        """Returns the layer over history and candidates."""
        return BehaviorAttention(
            width,
            types=len(self.types) + 1,
            heads=self.options.heads,
            age_steps=self.options.age_steps,
            dropout=self.options.dropout,
            event_dropout=self.options.event_dropout,
            collaborative_weight=self.options.collaborative_weight,
            name=f"{self.name}_encoder",
        )


class BehaviorAttention(tf.keras.layers.Layer, NamedRows):
    """Encodings of the history: [B, L, D] per candidate, [B, D] per user, [B, L, heads] affinities.

    Each candidate attends to the events, and a learned query pools the events to one vector of the
    user. Embeddings of an event's type and age are added to the vector of its item. Attention gives
    means, which cannot distinguish one similar event from ten, so the layer also returns
    affinities. A head's affinity is the sum of the candidate's similarities to all events, weighted
    by type and age, divided by the square root of the number of events.

    Masking: events that the mask leaves out have no weight. If no event is left, the results are
    finite and the caller must mark them as absent.

    Args:
      width: D.
      types: Number of event types, including unknown.
      heads: Attention heads.
      age_steps: Buckets of age; bucket = floor(1.5 · log2(1 + hours)), capped.
      dropout: Dropout on the attention weights.
      event_dropout: Share of events that training hides; the latest one is kept.
      collaborative_weight: Weight of `collaborative_loss`, which training adds to the model's loss.

    Source: Zhou et al. 2018, "Deep Interest Network" (candidate attends to history); Vaswani et
    al. 2017 (the attention itself); Kabbur et al. 2013, "FISM", equation 2 (the affinities).

    Example:
      One user with two events, of which the last slot is padding, and three candidates:

      >>> import tensorflow as tf
      >>> layer = BehaviorAttention(8, types=3, heads=2, age_steps=10, dropout=0.0)
      >>> candidates, events = tf.ones([1, 3, 8]), tf.ones([1, 2, 8])
      >>> types, ages = tf.constant([[1, 0]]), tf.constant([[2.5, 0.0]])
      >>> mask = tf.constant([[True, False]])
      >>> [tuple(encoding.shape) for encoding in layer((candidates, events, types, ages, mask))]
      [(1, 3, 8), (1, 8), (1, 3, 2)]
    """

    def __init__(
        self,
        width: int,
        *,
        types: int,
        heads: int,
        age_steps: int,
        dropout: float,
        event_dropout: float = 0.0,
        collaborative_weight: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.arguments = {
            "width": width,
            "types": types,
            "heads": heads,
            "age_steps": age_steps,
            "dropout": dropout,
            "event_dropout": event_dropout,
            "collaborative_weight": collaborative_weight,
        }
        self.forget = tf.keras.layers.Dropout(event_dropout)
        self.age_steps = age_steps
        self.type_table = tf.keras.layers.Embedding(types, width)
        self.age_table = tf.keras.layers.Embedding(age_steps, width)
        self.norm = layer_norm()
        key_width = max(width // heads, 8)
        self.target = tf.keras.layers.MultiHeadAttention(heads, key_width, dropout=dropout)
        self.pool = tf.keras.layers.MultiHeadAttention(heads, key_width, dropout=dropout)
        split = tf.keras.layers.Reshape((-1, heads, key_width))
        self.liked = tf.keras.Sequential([tf.keras.layers.Dense(heads * key_width), split])
        self.offered = tf.keras.Sequential([tf.keras.layers.Dense(heads * key_width), split])
        self.type_weight = tf.keras.layers.Embedding(types, heads, "zeros")
        self.age_weight = tf.keras.layers.Embedding(age_steps, heads, "zeros")

    def build(self, input_shape: Any) -> None:
        # Its random generator must exist before training, to be seeded at every epoch.
        self.forget.build(input_shape)
        self.query = self.add_weight("query", [1, 1, self.arguments["width"]])
        if self.arguments["collaborative_weight"]:
            heads = self.arguments["heads"]
            self.output_weight = self.add_weight("output_weight", [heads], initializer="ones")
            self.output_bias = self.add_weight("output_bias", [], initializer="zeros")
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, ...], training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Args: candidates [B, L, D], events [B, H, D], types, ages in days, mask [B, H]."""
        candidates, items, types, ages, mask = inputs
        if training and self.arguments["event_dropout"]:
            kept = self.forget(tf.ones_like(ages), training=True) > 0
            # Keep one event of a user who has any: the model learns absence elsewhere.
            follows = tf.pad(mask[:, 1:], [[0, 0], [0, 1]])
            mask &= kept | ~follows
        ages = tf.cast(ages, tf.float32)  # float16 cannot hold the hours of a few years
        step = 1.5 * tf.math.log1p(tf.maximum(ages, 0.0) * 24.0) / tf.math.log(2.0)
        bucket = tf.minimum(tf.cast(step, tf.int32), self.age_steps - 1)
        events = self.norm(items + self.type_table(types) + self.age_table(bucket))
        target = self.target(candidates, events, attention_mask=mask[:, None, :], training=training)
        query = tf.repeat(tf.cast(self.query, events.dtype), tf.shape(events)[0], axis=0)
        pooled = self.pool(query, events, attention_mask=mask[:, None, :], training=training)
        # A weight may become negative: disliked items count against similar candidates.
        weight = 1.0 + self.type_weight(types) + self.age_weight(bucket)
        weight *= tf.cast(mask, weight.dtype)[..., None]
        count = tf.reduce_sum(tf.cast(mask, weight.dtype), 1)
        liked = self.liked(items) * weight[..., None]
        profile = tf.reduce_sum(liked, 1) / tf.sqrt(tf.maximum(count, 1.0))[:, None, None]
        affinity = tf.einsum("blnk,bnk->bln", self.offered(candidates), profile)
        if training and self.arguments["collaborative_weight"]:
            loss = collaborative_loss(
                liked, self.offered(items), mask, self.output_weight, self.output_bias
            )
            self.add_loss(self.arguments["collaborative_weight"] * loss)
        return target, pooled[:, 0], affinity

    def named_rows(self, owner: History) -> Rows:
        types = ("any other", *(f"type {t}" for t in owner.types))
        return [(self.type_table.embeddings, types), (self.type_weight.embeddings, types)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


def collaborative_loss(
    liked: tf.Tensor, offered: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor
) -> tf.Tensor:
    """Returns the mean log-loss, a scalar float32, of separating own events from other lists'.

    The logit of an event is h · (p ⊙ q) + b. p is the sum of the user's `liked` vectors over the
    square root of their number; for one of the user's own events, p leaves that event out. q is the
    event's `offered` vector, and h has one weight per head. The negatives are the events of the
    next lists in the batch, which may include a list of the same user.

    Masking: events that the mask leaves out, and lists of fewer than two events, take no part.

    Args:
      liked: What each event adds to the user's profile [B, H, heads, K], zeros under the mask.
      offered: The vector of each event's item as a candidate [B, H, heads, K].
      mask: Events that are present, [B, H] bool.
      weight: h [heads].
      bias: b, a scalar.

    Source: He et al. 2017, "Neural collaborative filtering", equations 7 to 9.
    """
    liked, offered = tf.cast(liked, tf.float32), tf.cast(offered, tf.float32)
    count = tf.reduce_sum(tf.cast(mask, tf.float32), 1)
    total = tf.reduce_sum(liked, 1)
    rest = (total[:, None] - liked) / tf.sqrt(tf.maximum(count - 1.0, 1.0))[:, None, None, None]
    user = total / tf.sqrt(tf.maximum(count, 1.0))[:, None, None]
    weight, bias = tf.cast(weight, tf.float32), tf.cast(bias, tf.float32)
    known = (count >= 2.0)[:, None]
    logits = [tf.einsum("bhnk,bhnk,n->bh", rest, offered, weight) + bias]
    labels, used = [tf.ones_like(logits[0])], [mask & known]
    for step in range(1, NEGATIVES + 1):
        others = tf.roll(offered, -step, 0)
        logits.append(tf.einsum("bnk,bhnk,n->bh", user, others, weight) + bias)
        labels.append(tf.zeros_like(logits[0]))
        # In a batch of `step` lists or fewer, rolling may pair a list with itself.
        other = tf.shape(mask)[0] > step
        used.append(tf.roll(mask, -step, 0) & known & other)
    each = tf.nn.sigmoid_cross_entropy_with_logits(tf.stack(labels), tf.stack(logits))
    counted = tf.cast(tf.stack(used), tf.float32)
    return tf.reduce_sum(each * counted) / tf.maximum(tf.reduce_sum(counted), 1.0)
