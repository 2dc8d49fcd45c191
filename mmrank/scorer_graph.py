"""The graph from the towers' outputs to scores: fusion, behaviour, matching, head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.encoders.behavior import BehaviorAttention
from mmrank.encoders.norm import layer_norm
from mmrank.encoders.tokens import ModalityTokens
from mmrank.fusion.base import Fusion
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.matcher import Matcher, MatchRows, numbers_part, split_parts
from mmrank.ranking.heads import ListwiseHead
from mmrank.towers import (
    MASK,
    MATCH,
    Encoders,
    FeatureEncoder,
    Tensors,
    flagged,
    inputs_of,
    present_name,
    unnormed_names,
)

QUERY_MATCH = "query_match"


@dataclasses.dataclass(frozen=True)
class ScorerGraph:
    """A scorer, and what it has of plain numbers.

    Attributes:
      model: Tokens, contexts and pair features → scores [B, L], or these by task.
      plain: The same inputs → numbers [B, L, F] float32 that trees read; None without any.
      names: Of these numbers, [F].
    """

    model: tf.keras.Model
    plain: tf.keras.Model | None
    names: tuple[str, ...]


def scorer_graph(
    item_tower: tf.keras.Model,
    context_tower: tf.keras.Model,
    pair: Sequence[FeatureEncoder],
    width: int,
    fusion: Fusion,
    head: ListwiseHead,
    behavior: BehaviorAttention | None,
    encoders: Encoders,
    matcher: Matcher | None,
    residual: tf.keras.layers.Dense | None,
    modalities: Sequence[str],
    rows: MatchRows | None,
    cross: CrossEncoder | None,
) -> ScorerGraph:
    """The scorer over the towers of a ranker.

    Args:
      item_tower, context_tower: The towers; their outputs are its inputs.
      pair: Features of query and candidate together.
      width, fusion, head, behavior, cross: As of `ranking_model`.
      encoders: The layers that encode.
      matcher, residual, rows: As of `RankingModel`.
      modalities: Names of the item tokens, in their order.
    """
    count = item_tower.output["tokens"].shape[1]
    kinds = context_tower.output["contexts"].shape[1]
    dtype = item_tower.output["tokens"].dtype
    inputs = {
        "tokens": tf.keras.Input((None, count, width), dtype=dtype, name="tokens"),
        "present": tf.keras.Input((None, count), dtype=tf.bool, name="present"),
        "contexts": tf.keras.Input((kinds, width), dtype=dtype, name="contexts"),
        "contexts_present": tf.keras.Input((kinds,), dtype=tf.bool, name="contexts_present"),
        MASK: tf.keras.Input((None,), dtype=tf.bool, name=MASK),
    }
    tokens, present = inputs["tokens"], inputs["present"]
    contexts, contexts_present = inputs["contexts"], inputs["contexts_present"]
    embeddings, here, names = [], [], []
    for feature in pair:
        inputs |= inputs_of(feature, lead=(None,))
        value, there = inputs[feature.name], inputs[present_name(feature.name)]
        flat = tf.reshape(value, [-1, *feature.spec.shape[1:]])
        embedding = encoders.of(feature)((flat, tf.reshape(there, [-1])))
        shape = tf.shape(there)
        embeddings.append(tf.reshape(embedding, [shape[0], shape[1], embedding.shape[-1]]))
        here.append(there)
        names.append(feature.name)
    if behavior is not None:
        history = {
            "history_tokens": tf.keras.Input(
                (None, count, width), dtype=dtype, name="history_tokens"
            ),
            "history_types": tf.keras.Input((None,), dtype=tf.int32, name="history_types"),
            "history_ages": tf.keras.Input((None,), dtype=tf.float32, name="history_ages"),
            "history_mask": tf.keras.Input((None,), dtype=tf.bool, name="history_mask"),
        }
        inputs |= history
        summary = ItemSummary(width, name="item_summary")
        candidates = summary(tokens)
        said, shopper, affinity = behavior(
            (
                candidates,
                summary(history["history_tokens"]),
                history["history_types"],
                history["history_ages"],
                history["history_mask"],
            )
        )
        known = tf.reduce_any(history["history_mask"], -1)
        embeddings.append(tf.concat([said, said * candidates, shopper[:, None] * candidates], -1))
        embeddings.append(tf.keras.layers.Dense(width, "relu", name="affinity")(affinity))
        here += 2 * [known[:, None] & tf.ones_like(inputs[MASK])]
        names += ["behavior", "affinity"]
        shopper_token = ModalityTokens(("shopper",), width, name="shopper_token")
        contexts = tf.concat([contexts, shopper_token(([shopper], [known]))], 1)
        contexts_present = tf.concat([contexts_present, known[:, None]], 1)
    if names:
        more = ModalityTokens(tuple(names), width, unnormed_names(pair), name="pair_tokens")
        tokens = tf.concat([tokens, more((embeddings, here))], 2)
        present = tf.concat([present, tf.stack(here, -1)], 2)
    vectors = fusion((tokens, present, contexts, contexts_present))
    if rows is not None and rows.item_width:
        inputs[MATCH] = tf.keras.Input((None, rows.item_width), dtype=tf.float32, name=MATCH)
    if rows is not None and rows.query_width:
        inputs[QUERY_MATCH] = tf.keras.Input(
            (rows.query_width,), dtype=tf.float32, name=QUERY_MATCH
        )
    matched = None
    if matcher is not None:
        matched = matcher((inputs[QUERY_MATCH], inputs[MATCH], inputs["present"], inputs[MASK]))
        vectors = tf.concat([vectors, tf.cast(matched, vectors.dtype)], -1)
    scores = head((vectors, inputs[MASK]))
    if matched is not None and residual is not None:
        scores = _added(scores, residual(matched))
    if rows is not None and cross is not None:
        shown = dict(zip(modalities, tf.unstack(inputs["present"], axis=-1), strict=True))
        offered = rows.offered(inputs[MATCH], shown)
        first = _stacked(scores)
        asked = rows.asked(inputs[QUERY_MATCH])
        scores = _like(scores, cross((asked, offered, inputs[MASK], first)))
    plain = None if rows is None else _plain(inputs, matched, matcher, rows, pair, modalities)
    return ScorerGraph(tf.keras.Model(inputs, scores, name="scorer"), *(plain or (None, ())))


def _plain(
    inputs: Tensors,
    matched: tf.Tensor | None,
    matcher: Matcher | None,
    rows: MatchRows,
    pair: Sequence[FeatureEncoder],
    modalities: Sequence[str],
) -> tuple[tf.keras.Model, tuple[str, ...]] | None:
    """The graph to the numbers that trees read, and their names; None without any.

    Masking: a number is 0 where its feature is absent, and one more tells that it is.
    """
    columns: list[tf.Tensor] = []
    names: list[str] = []

    def add(feature: str, values: tf.Tensor) -> None:
        columns.append(values)
        names.extend(f"{feature}/{i}" for i in range(values.shape[-1] - 1))
        names.append(f"{feature}/there")

    if matcher is not None and matched is not None:
        columns.append(matched)
        names += matcher.names
    mask = inputs[MASK]
    if rows.item_numbers:
        offered = split_parts(inputs[MATCH], rows.item_parts)
        for name in rows.item_numbers:
            shown = inputs["present"][..., modalities.index(name)] & mask
            add(name, tf.where(shown[..., None], offered[numbers_part(name)], 0.0))
    if rows.query_numbers:
        asked = split_parts(inputs[QUERY_MATCH], rows.query_parts)
        for name in rows.query_numbers:
            add(name, tf.where(mask[..., None], asked[numbers_part(name)][:, None], 0.0))
    for feature in pair:
        if feature.plain is not None:
            numbers = feature.plain(inputs[feature.name])
            add(feature.name, flagged(numbers, inputs[present_name(feature.name)]))
    if not columns:
        return None
    return tf.keras.Model(inputs, tf.concat(columns, -1), name="plain_numbers"), tuple(names)


def _stacked(scores: tf.Tensor | dict[str, tf.Tensor]) -> tf.Tensor:
    """Scores [B, L, tasks] of scores [B, L], or of those by task."""
    several = scores.values() if isinstance(scores, dict) else [scores]
    return tf.stack([tf.cast(s, tf.float32) for s in several], -1)


def _like(
    scores: tf.Tensor | dict[str, tf.Tensor], stacked: tf.Tensor
) -> tf.Tensor | dict[str, tf.Tensor]:
    """What was stacked, apart again as the scores are."""
    if not isinstance(scores, dict):
        return stacked[..., 0]
    return {n: tf.cast(stacked[..., i], s.dtype) for i, (n, s) in enumerate(scores.items())}


def _added(
    scores: tf.Tensor | dict[str, tf.Tensor], more: tf.Tensor
) -> tf.Tensor | dict[str, tf.Tensor]:
    """Scores [B, L], [B, L, K] of members, or by task, with the numbers [B, L, tasks] added."""
    if not isinstance(scores, dict):
        return scores + (more if scores.shape.rank == 3 else more[..., 0])
    return {
        task: score + tf.cast(more[..., i], score.dtype)
        for i, (task, score) in enumerate(scores.items())
    }


class ItemSummary(tf.keras.layers.Layer):
    """One vector [..., D] of an item's tokens [..., M, D], absent ones' learned vectors included.

    Args:
      width: D.
    """

    def __init__(self, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = width
        self.projection = tf.keras.layers.Dense(width)
        self.norm = layer_norm()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(inputs)
        flat = tf.reshape(inputs, tf.concat([shape[:-2], [inputs.shape[-2] * inputs.shape[-1]]], 0))
        flat = tf.ensure_shape(flat, [*inputs.shape[:-2], inputs.shape[-2] * inputs.shape[-1]])
        return self.norm(self.projection(flat))

    def get_config(self) -> dict:
        return super().get_config() | {"width": self.width}
