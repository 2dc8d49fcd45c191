"""The graph from the towers' outputs to scores: fusion, behaviour, matching, head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.config import PLAIN, VECTORS
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.encoders.norm import layer_norm
from mmrank.encoders.tokens import ModalityTokens
from mmrank.fusion.base import Fusion
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.matcher import LIMIT, Matcher
from mmrank.matching.rows import MatchRows, numbers_part, split_parts
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
from mmrank.trees.layer import ForestScores
from mmrank.trees.stack import Stack

QUERY_MATCH, TREE_SCORE = "query_match", "tree_score"
# In place of `PLAIN`, for trees whose score the network reads: only what training cannot change.
FIXED = "fixed"


@dataclasses.dataclass(frozen=True)
class ScorerGraph:
    """A scorer, and the numbers that it provides for trees.

    Attributes:
      model: Tokens, contexts and pair features → scores [B, L], or these by task. If the network
        reads the score of trees, `model` takes it as the input `tree_score` [B, L].
      served: As `model`, but computes the trees' score itself; `model` itself without trees.
      plain: The same inputs → numbers [B, L, F] float32 that trees read; None without any.
      names: Names of these numbers, [F].
    """

    model: tf.keras.Model
    served: tf.keras.Model
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
    reads: Sequence[str] = (),
    learned: Sequence[str] = (),
    stack: Stack | None = None,
    tree_residual: tf.keras.layers.Dense | None = None,
) -> ScorerGraph:
    """The scorer over the towers of a ranker.

    Args:
      item_tower, context_tower: The towers; their outputs are the scorer's inputs.
      pair: Features of query and candidate together.
      width, fusion, head, behavior, cross: As of `ranking_model`.
      encoders: The encoders of the ranker.
      matcher, residual, rows, tree_residual: As of `RankingModel`.
      modalities: Names of the item tokens, in their order.
      reads, stack: As of `ranking_model`.
      learned: Names of match features that training changes.

    Raises:
      ValueError: The trees of `stack` read other numbers than there are.
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
        interests, user, affinity = behavior(
            (
                candidates,
                summary(history["history_tokens"]),
                history["history_types"],
                history["history_ages"],
                history["history_mask"],
            )
        )
        known = tf.reduce_any(history["history_mask"], -1)
        embeddings.append(
            tf.concat([interests, interests * candidates, user[:, None] * candidates], -1)
        )
        embeddings.append(tf.keras.layers.Dense(width, "relu", name="affinity")(affinity))
        here += 2 * [known[:, None] & tf.ones_like(inputs[MASK])]
        names += ["behavior", "affinity"]
        user_token = ModalityTokens(("shopper",), width, name="shopper_token")
        contexts = tf.concat([contexts, user_token(([user], [known]))], 1)
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
    fused, matched = vectors, None
    if matcher is not None:
        matched = matcher((inputs[QUERY_MATCH], inputs[MATCH], inputs["present"], inputs[MASK]))
        vectors = tf.concat([vectors, tf.cast(matched, vectors.dtype)], -1)

    def scored(tree_scores: tf.Tensor | None) -> tf.Tensor | dict[str, tf.Tensor]:
        """Scores, given the trees' score [B, L] that the network reads, or None without trees."""
        entered = vectors
        if tree_scores is not None:
            tree_scores = tf.where(inputs[MASK], tf.clip_by_value(tree_scores, -LIMIT, LIMIT), 0.0)[
                ..., None
            ]
            entered = tf.concat([vectors, tf.cast(tree_scores, vectors.dtype)], -1)
        scores = head((entered, inputs[MASK]))
        if matched is not None and residual is not None:
            scores = _added(scores, residual(matched))
        if tree_scores is not None and tree_residual is not None:
            scores = _added(scores, tree_residual(tree_scores))
        if rows is None or cross is None:
            return scores
        shown = dict(zip(modalities, tf.unstack(inputs["present"], axis=-1), strict=True))
        offered = rows.offered(inputs[MATCH], shown)
        first = _stacked(scores)
        asked = rows.asked(inputs[QUERY_MATCH])
        return _like(scores, cross((asked, offered, inputs[MASK], first)))

    plain, known = None, ()
    if rows is not None and reads:
        columns, known = _numbers(inputs, matched, matcher, rows, pair, modalities, reads, learned)
        if VECTORS in reads:
            columns.append(tf.where(inputs[MASK][..., None], tf.cast(fused, tf.float32), 0.0))
            known += tuple(f"{VECTORS}/{i}" for i in range(fused.shape[-1]))
        if columns:
            plain = tf.keras.Model(inputs, tf.concat(columns, -1), name="plain_numbers")
    if stack is None:
        model = tf.keras.Model(inputs, scored(None), name="scorer")
        return ScorerGraph(model, model, plain, known)
    if plain is None or stack.names != known:
        raise ValueError("the stacked trees read numbers that differ from those of the ranker")
    tree_inputs = {TREE_SCORE: tf.keras.Input((None,), dtype=tf.float32, name=TREE_SCORE)}
    model = tf.keras.Model(inputs | tree_inputs, scored(tree_inputs[TREE_SCORE]), name="scorer")
    computed = ForestScores(stack.forest, name="forest")(plain.output)
    served = tf.keras.Model(inputs, scored(computed), name="stacked")
    return ScorerGraph(model, served, plain, known)


def _numbers(
    inputs: Tensors,
    matched: tf.Tensor | None,
    matcher: Matcher | None,
    rows: MatchRows,
    pair: Sequence[FeatureEncoder],
    modalities: Sequence[str],
    reads: Sequence[str],
    learned: Sequence[str],
) -> tuple[list[tf.Tensor], tuple[str, ...]]:
    """Match features and plain numbers [B, L, ...] that trees read, and the names of all.

    Masking: a number is 0 where its feature is absent; one more number says whether it is present.
    """
    columns: list[tf.Tensor] = []
    names: list[str] = []
    if PLAIN not in reads and FIXED not in reads:
        return columns, ()

    def add(feature: str, values: tf.Tensor) -> None:
        columns.append(values)
        names.extend(f"{feature}/{i}" for i in range(values.shape[-1] - 1))
        names.append(f"{feature}/there")

    if matcher is not None and FIXED in reads:
        # Not normalised: mean and deviation may come with the weights of another run.
        asked_of = (inputs[QUERY_MATCH], inputs[MATCH], inputs["present"], inputs[MASK])
        kept = [i for i, name in enumerate(matcher.names) if name not in learned]
        if kept:
            columns.append(tf.gather(matcher(asked_of, as_they_are=True), kept, axis=-1))
            names += [matcher.names[i] for i in kept]
    elif matched is not None and matcher is not None:
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
    return columns, tuple(names)


def _stacked(scores: tf.Tensor | dict[str, tf.Tensor]) -> tf.Tensor:
    """Scores [B, L, tasks], stacked from scores [B, L] or from scores by task."""
    several = scores.values() if isinstance(scores, dict) else [scores]
    return tf.stack([tf.cast(s, tf.float32) for s in several], -1)


def _like(
    scores: tf.Tensor | dict[str, tf.Tensor], stacked: tf.Tensor
) -> tf.Tensor | dict[str, tf.Tensor]:
    """What was stacked, separated again into the form of `scores`."""
    if not isinstance(scores, dict):
        return stacked[..., 0]
    return {n: tf.cast(stacked[..., i], s.dtype) for i, (n, s) in enumerate(scores.items())}


def _added(
    scores: tf.Tensor | dict[str, tf.Tensor], more: tf.Tensor
) -> tf.Tensor | dict[str, tf.Tensor]:
    """Scores [B, L], [B, L, K] of members, or by task, plus the numbers [B, L, tasks]."""
    if not isinstance(scores, dict):
        return scores + (more if scores.shape.rank == 3 else more[..., 0])
    return {
        task: score + tf.cast(more[..., i], score.dtype)
        for i, (task, score) in enumerate(scores.items())
    }


class ItemSummary(tf.keras.layers.Layer):
    """One vector [..., D] of an item's tokens [..., M, D], including the learned absent tokens.

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
