"""RankingModel: encode → fuse → score, as Keras functional graphs.

Three graphs do the work, and a fourth joins them for training:

    item tower    raw features of unique items [U, ...]      → tokens [U, M, D], present [U, M]
    context tower features of query and shopper [B, ...]     → contexts [B, C, D], present [B, C]
    scorer        tokens of candidates and history, contexts → scores [B, L]
    network       items once a batch, gathered by slot       → scores [B, L]

Serving keeps the first three apart, so that items can be encoded ahead of the request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mmrank.data.batches import label_name
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.encoders.norm import layer_norm
from mmrank.encoders.tokens import ModalityTokens
from mmrank.fusion.base import Fusion
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.matcher import Matcher, MatchRows, VectorPair, match_rows
from mmrank.matching.pieces import PiecePlan
from mmrank.matching.plan import MatchPlan, terms_name
from mmrank.ranking.entire_space import EntireSpace
from mmrank.ranking.heads import ListwiseHead
from mmrank.ranking.member_tower import MemberMean
from mmrank.ranking.position_tower import PositionTower
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.uncertainty import TaskUncertainty
from mmrank.towers import (
    MASK,
    MATCH,
    ContextTower,
    Encoders,
    FeatureEncoder,
    ItemTower,
    MatchParts,
    Tensors,
    inputs_of,
    plain_names,
    present_name,
    share_batch_statistics,
    tower_outputs,
)

SLOTS = "slots"
QUERY_MATCH = "query_match"


@dataclasses.dataclass(frozen=True)
class RankingModel:
    """The graphs of one ranker, sharing their weights.

    Attributes:
      item_tower, context_tower, scorer, network: Keras functional models, see the module.
      modalities: Names of the item tokens, in their order.
      width: D.
      encoders: The features it reads.
      history: Name of the history feature, or None.
      outputs: What the outputs of its tasks mean; None for scores [B, L] on grades. With several
        tasks scorer and network give a mapping from task to [B, L].
      uncertainty: The layer with the learned weights of the tasks, or None.
      matcher: The layer that compares queries and candidates, or None. Both towers then give rows
        for it, and the scorer takes them as `match` [B, L, W] and `query_match` [B, V].
      residual: By which the features of the matcher reach the score without a detour.
      rows: Where everything stands in `match` and `query_match`; None without these.
      cross: The layer that reads query and candidate together, or None.
    """

    item_tower: tf.keras.Model
    context_tower: tf.keras.Model
    scorer: tf.keras.Model
    network: tf.keras.Model
    modalities: tuple[str, ...]
    width: int
    encoders: tuple[FeatureEncoder, ...]
    history: str | None = None
    outputs: TaskOutputs | None = None
    uncertainty: TaskUncertainty | None = None
    matcher: Matcher | None = None
    residual: tf.keras.layers.Dense | None = None
    rows: MatchRows | None = None
    cross: CrossEncoder | None = None

    def history_input(self, role: str) -> str:
        """The name of a history input by its role: slots, types, ages or mask.

        Raises:
          ValueError: The ranker has no history.
        """
        if self.history is None:
            raise ValueError("this ranker has no history")
        return history_names(self.history)[role]


def history_names(history: str) -> dict[str, str]:
    """The names of a history's inputs by role: slots, types, ages and mask."""
    return {role: f"{history}_{role}" for role in ("slots", "types", "ages", "mask")}


def ranking_model(
    features: Sequence[FeatureEncoder],
    *,
    width: int,
    fusion: Fusion,
    head: ListwiseHead,
    history: str | None = None,
    behavior: BehaviorAttention | None = None,
    outputs: TaskOutputs | None = None,
    given: Mapping[str, str] | None = None,
    learn_task_weights: bool = False,
    position_towers: Mapping[str, PositionTower] | None = None,
    matching: bool = False,
    plan: MatchPlan | None = None,
    pieces: PiecePlan | None = None,
    cross: CrossEncoder | None = None,
) -> RankingModel:
    """The ranker over some features.

    Args:
      features: In the order of the tokens. At least one of side item.
      width: D, the width of every token.
      fusion: Tokens and contexts → one vector a candidate.
      head: Vectors of a list → scores.
      history: Name of the history feature, with `behavior`; None for a ranker without.
      behavior: The layer over history and candidates.
      outputs: What the outputs of its tasks mean; None for scores on grades.
      given: By task, the one without which it cannot happen, as `EntireSpace` takes it.
      learn_task_weights: Whether the network holds the tasks' uncertainties.
      position_towers: By task, what positions add to its logits in the network, and there alone.
      matching: Whether queries and candidates are compared directly: by `plan`, and by the vectors
        of encoders that a query feature and an item feature share.
      plan: How their words are compared; None for vectors alone.
      pieces: What `cross` reads.
      cross: The layer that reads query and candidate together; None for none.

    Raises:
      ValueError: No feature is of side item, or two inputs would bear one name.
    """
    by_side = {
        side: [f for f in features if f.side == side] for side in ("item", "query", "user", "pair")
    }
    if not by_side["item"]:
        raise ValueError("a ranker needs a feature of side item")
    _check_inputs(features, history)
    encoders = Encoders()
    matcher, residual, rows = None, None, None
    pairs = shared_encoders(by_side["query"], by_side["item"]) if matching else []
    of_items, of_queries = match_parts(plan, pairs, pieces)
    item = ItemTower(by_side["item"], width, of_items)
    sides = {side: by_side[side] for side in ("query", "user")}
    context = ContextTower(sides, width, of_queries)
    item_tower, context_tower = item.model(encoders), context.model(encoders)
    if cross is not None and cross.alone:
        item_tower.trainable = context_tower.trainable = False  # no score depends on them
    vectors = [VectorPair(query, other, item.widths[other]) for query, other in pairs]
    read = ({}, {}) if pieces is None else (pieces.query, pieces.fields)
    if plan is not None or pairs or cross is not None:
        rows = match_rows(plan, vectors, *read)
    if plan is not None or pairs:
        matcher = Matcher(plan, vectors, [f.name for f in by_side["item"]], *read, name="matcher")
        # The tasks of the head; nothing is added to their scores until it is trained or fitted.
        residual = tf.keras.layers.Dense(
            max(len(head.tasks), 1),
            use_bias=False,
            kernel_initializer="zeros",
            dtype=tf.float32,
            name="match_residual",
        )
    own = _scorer(
        item_tower,
        context_tower,
        by_side["pair"],
        width,
        fusion,
        head,
        behavior,
        encoders,
        matcher,
        residual,
        [f.name for f in by_side["item"]],
        rows,
        cross,
    )
    finish = EntireSpace(given, dtype=tf.float32, name="entire_space") if given else None
    scorer = own
    if head.members > 1:  # training sees each of them
        scorer = tf.keras.Model(own.input, MemberMean(name="member_mean")(own.output), name="mean")
    if finish is not None:
        scorer = tf.keras.Model(own.input, finish((own.output, own.input[MASK])), name="chained")
    uncertainty = None
    if learn_task_weights:
        uncertainty = TaskUncertainty(tuple(own.output), dtype=tf.float32, name="task_uncertainty")

    def towers(inputs: Tensors) -> tuple[Tensors, Tensors]:
        if share_batch_statistics(item.features, context.features):
            return tower_outputs(item, context, encoders, inputs)
        return (
            item_tower({n: inputs[n] for n in item_tower.input}),
            context_tower({n: inputs[n] for n in context_tower.input}),
        )

    network = _network(
        item_tower, context_tower, towers, own, history, finish, uncertainty, position_towers or {}
    )
    return RankingModel(
        item_tower,
        context_tower,
        scorer,
        network,
        tuple(f.name for f in by_side["item"]),
        width,
        tuple(features),
        history,
        outputs,
        uncertainty,
        matcher,
        residual,
        rows,
        cross,
    )


def shared_encoders(
    query: Sequence[FeatureEncoder], item: Sequence[FeatureEncoder]
) -> list[tuple[str, str]]:
    """The names of each query feature and item feature that one encoder makes vectors of."""
    return [
        (one.name, other.name) for one in query for other in item if one.encoder is other.encoder
    ]


def match_parts(
    plan: MatchPlan | None, pairs: Sequence[tuple[str, str]], pieces: PiecePlan | None
) -> tuple[MatchParts, MatchParts]:
    """What the item tower, and what the context tower, gives to be matched and read."""
    read = ({}, {}) if pieces is None else (pieces.query, pieces.fields)
    rows = match_rows(plan, (), *read)
    of_queries, of_items = (
        {name: sum(width for _, width in parts) for name, parts in texts.items()}
        for texts in (rows.query_texts, rows.item_texts)
    )
    queries, items = (tuple(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    return MatchParts(of_items, items), MatchParts(of_queries, queries)


def _check_inputs(features: Sequence[FeatureEncoder], history: str | None) -> None:
    """Every input of the graphs has a name of its own; one shared would feed both silently."""
    taken = {SLOTS, MASK, "grades", "tokens", "present", "contexts", "contexts_present"}
    taken |= {MATCH, QUERY_MATCH}
    taken |= set(history_names("history").values()) | {"history_tokens", label_name("position")}
    if history is not None:
        taken |= set(history_names(history).values())
    for feature in features:
        names = {feature.name, present_name(feature.name), terms_name(feature.name)}
        if names & taken:
            raise ValueError(
                f"feature {feature.name!r}: the input {sorted(names & taken)[0]!r} is in use; "
                "give the feature another name"
            )
        taken |= names


def _scorer(
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
) -> tf.keras.Model:
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
        plain = plain_names(pair)
        more = ModalityTokens(tuple(names), width, plain, name="pair_tokens")((embeddings, here))
        tokens = tf.concat([tokens, more], 2)
        present = tf.concat([present, tf.stack(here, -1)], 2)
    vectors = fusion((tokens, present, contexts, contexts_present))
    if rows is not None:
        inputs[MATCH] = tf.keras.Input((None, rows.item_width), dtype=tf.float32, name=MATCH)
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
    return tf.keras.Model(inputs, scores, name="scorer")


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


def _network(
    item_tower: tf.keras.Model,
    context_tower: tf.keras.Model,
    towers: Callable[[Tensors], tuple[Tensors, Tensors]],
    scorer: tf.keras.Model,
    history: str | None,
    finish: EntireSpace | None,
    uncertainty: TaskUncertainty | None,
    position_towers: Mapping[str, PositionTower],
) -> tf.keras.Model:
    """The training graph: every unique item is encoded once and gathered where it is shown."""
    inputs = _renewed(item_tower.input) | _renewed(context_tower.input)
    inputs[SLOTS] = tf.keras.Input((None,), dtype=tf.int32, name=SLOTS)
    own = ("tokens", "present", "contexts", "contexts_present", MATCH, QUERY_MATCH, MASK)
    inputs |= _renewed(
        {n: t for n, t in scorer.input.items() if n not in own and not n.startswith("history_")}
    )
    if history is not None:
        roles = history_names(history)
        dtypes = {"slots": tf.int32, "types": tf.int32, "ages": tf.float32, "mask": tf.bool}
        inputs |= {n: tf.keras.Input((None,), dtype=dtypes[r], name=n) for r, n in roles.items()}

    items, context = towers(inputs)
    fed = {
        "tokens": tf.gather(items["tokens"], inputs[SLOTS]),
        "present": tf.gather(items["present"], inputs[SLOTS]),
        "contexts": context["contexts"],
        "contexts_present": context["present"],
    }
    if MATCH in items:
        fed |= {MATCH: tf.gather(items[MATCH], inputs[SLOTS]), QUERY_MATCH: context[MATCH]}
    if history is not None:
        fed |= {
            "history_tokens": tf.gather(items["tokens"], inputs[roles["slots"]]),
            "history_types": inputs[roles["types"]],
            "history_ages": inputs[roles["ages"]],
            "history_mask": inputs[roles["mask"]],
        }
    fed |= {n: inputs[n] for n in scorer.input if n not in fed}
    scores = scorer(fed)
    if position_towers:
        name = label_name("position")
        inputs[name] = tf.keras.Input((None,), dtype=tf.float32, name=name)
        if isinstance(scores, dict):
            biased = {n: t((scores[n], inputs[name])) for n, t in position_towers.items()}
            scores = scores | biased
        else:
            (tower,) = position_towers.values()
            scores = tower((scores, inputs[name]))
    if finish is not None:
        scores = finish((scores, inputs[MASK]))
    if uncertainty is not None:
        scores = uncertainty(scores)
    if isinstance(scores, dict):
        # Keras names the figures of an output by its last layer.
        keep = tf.keras.layers.Activation
        scores = {
            n: keep("linear", dtype=tf.float32, name=f"task_{n}")(s) for n, s in scores.items()
        }
    return tf.keras.Model(inputs, scores, name="ranker")


def _renewed(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Fresh inputs of the same names, shapes and dtypes."""
    return {n: tf.keras.Input(t.shape[1:], dtype=t.dtype, name=n) for n, t in inputs.items()}
