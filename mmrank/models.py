"""RankingModel: encode → fuse → score, as Keras functional graphs.

Three graphs make up a ranker, and a fourth joins them for training:

    item tower    raw features of unique items [U, ...]      → tokens [U, M, D], present [U, M]
    context tower features of query and user [B, ...]        → contexts [B, C, D], present [B, C]
    scorer        tokens of candidates and history, contexts → scores [B, L]
    network       items once per batch, gathered by slot     → scores [B, L]

Serving keeps the first three separate, so that items can be encoded before a request arrives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mmrank.config import PLAIN
from mmrank.data.batches import label_name
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.fusion.base import Fusion
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.matching.matcher import Matcher
from mmrank.matching.pieces import PiecePlan
from mmrank.matching.plan import MatchPlan, terms_name
from mmrank.matching.rows import MatchRows, VectorPair, match_rows
from mmrank.ranking.entire_space import EntireSpace
from mmrank.ranking.heads import ListwiseHead
from mmrank.ranking.member_tower import MemberMean
from mmrank.ranking.position_tower import PositionTower
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.uncertainty import TaskUncertainty
from mmrank.scorer_graph import FIXED, QUERY_MATCH, TREE_SCORE, scorer_graph
from mmrank.towers import (
    MASK,
    MATCH,
    ContextTower,
    Encoders,
    FeatureEncoder,
    ItemTower,
    MatchParts,
    Tensors,
    present_name,
    share_batch_statistics,
    tower_outputs,
)
from mmrank.training_graph import SLOTS, history_names, training_graph
from mmrank.trees.blend import Blend
from mmrank.trees.stack import Stack


@dataclasses.dataclass(frozen=True)
class RankingModel:
    """The graphs of one ranker, sharing their weights.

    Attributes:
      item_tower, context_tower, scorer, network: Keras functional models; see the module docstring.
      modalities: Names of the item tokens, in their order.
      width: D.
      encoders: The features that the ranker reads.
      history: Name of the history feature, or None.
      outputs: What the outputs of its tasks mean; None for scores [B, L] on grades. With several
        tasks scorer and network return a mapping from task to [B, L].
      uncertainty: The layer with the learned weights of the tasks, or None.
      matcher: The layer that compares queries and candidates, or None. Both towers then return rows
        for it, and the scorer takes the rows as `match` [B, L, W] and `query_match` [B, V].
      residual: Adds the matcher's features to the score directly; None without a matcher.
      rows: The layout of `match` and `query_match`; None without these inputs.
      cross: The layer that reads query and candidate together, or None.
      plain: The scorer's inputs → numbers [B, L, F] float32 that trees read; None without any.
      plain_names: Names of these numbers, [F].
      blend: Trees in the scorer, added to the network or in place of it; `network` does not
        contain them. None for a network alone.
      stack: Trees whose score the network reads: the scorer computes the score, and `network` takes
        it as the input `tree_score` [B, L]. None without such trees.
      tree_residual: Adds the score of `stack` to the network's score directly; None without.
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
    plain: tf.keras.Model | None = None
    plain_names: tuple[str, ...] = ()
    blend: Blend | None = None
    stack: Stack | None = None
    tree_residual: tf.keras.layers.Dense | None = None

    def history_input(self, role: str) -> str:
        """The name of a history input, given its role: slots, types, ages or mask.

        Raises:
          ValueError: The ranker has no history.
        """
        if self.history is None:
            raise ValueError("the ranker has no history feature")
        return history_names(self.history)[role]


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
    reads: Sequence[str] = (),
    stack: Stack | None = None,
) -> RankingModel:
    """Returns the ranker over some features.

    Args:
      features: In the order of the tokens; at least one of side item.
      width: D, the width of every token.
      fusion: Tokens and contexts → one vector for each candidate.
      head: Vectors of a list → scores.
      history: Name of the history feature, with `behavior`; None for a ranker without history.
      behavior: The layer over history and candidates.
      outputs: What the outputs of its tasks mean; None for scores on grades.
      given: For each task, the task that must happen before it, as `EntireSpace` takes it.
      learn_task_weights: Whether the network holds the tasks' uncertainties.
      position_towers: For each task, what positions add to its logits, in the network only.
      matching: Whether queries and candidates are compared directly: by `plan`, and by the vectors
        of encoders that a query feature and an item feature share, or that are aligned.
      plan: How their words are compared; None to compare vectors alone.
      pieces: The texts that `cross` reads.
      cross: The layer that reads query and candidate together; None without one.
      reads: What trees can read: `plain`, match features and unchanged numbers; or `fixed`, those
        of them that training does not change; and `vectors`, the candidates' vectors before the
        head.
      stack: Trees that read the `fixed` numbers, and whose score the network reads.

    Raises:
      ValueError: No feature is of side item, two inputs would have the same name, aligned encoders
        give vectors of different widths, or `stack` reads other numbers than there are.
    """
    by_side = {
        side: [f for f in features if f.side == side] for side in ("item", "query", "user", "pair")
    }
    if not by_side["item"]:
        raise ValueError("a ranker needs a feature of side item")
    check_input_names([f.name for f in features], history, FIXED in reads)
    numbers = PLAIN in reads or FIXED in reads
    encoders = Encoders()
    matcher, residual, rows = None, None, None
    pairs = comparable(by_side["query"], by_side["item"]) if matching else []
    asking = [*by_side["query"], *by_side["user"]]
    others: dict[str, Mapping[str, int]] = {}
    if pieces is not None:
        others |= {"query_pieces": pieces.query, "item_pieces": pieces.fields}
    if numbers:
        others["query_numbers"] = plain_widths(asking)
        others["item_numbers"] = plain_widths(by_side["item"])
    elif plan is not None and plan.numbers:
        compared = [f for f in by_side["item"] if f.name in plan.numbers]
        others["item_numbers"] = plain_widths(compared)
    of_items, of_queries = match_parts(plan, pairs, others)
    item = ItemTower(by_side["item"], width, of_items)
    sides = {side: by_side[side] for side in ("query", "user")}
    context = ContextTower(sides, width, of_queries)
    item_tower, context_tower = item.model(encoders), context.model(encoders)
    if cross is not None and cross.alone:
        item_tower.trainable = context_tower.trainable = False  # no score depends on them
    vectors = [VectorPair(query, other, item.widths[other]) for query, other in pairs]
    for pair in vectors:
        if context.widths[pair.query] != pair.width:
            raise ValueError(
                f"features {pair.query!r} and {pair.item!r}: their encoders are marked as aligned, "
                f"but their vectors have {context.widths[pair.query]} and {pair.width} numbers; "
                "import both again"
            )
    if plan is not None or pairs or cross is not None or reads:
        rows = match_rows(plan, vectors, others)
    if plan is not None or pairs:
        matcher = Matcher(plan, vectors, [f.name for f in by_side["item"]], others, name="matcher")
        residual = _way_to_the_score(head, "match_residual")
    by_name = {f.name: f.encoder for f in features}
    learned = [
        f"{pair.query}/{pair.item}/cosine"
        for pair in vectors
        if by_name[pair.query].trainable_variables or by_name[pair.item].trainable_variables
    ]
    tree_residual = None if stack is None else _way_to_the_score(head, "tree_residual")
    graph = scorer_graph(
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
        reads,
        learned,
        stack,
        tree_residual,
    )
    own, scorer = graph.model, graph.served
    finish = EntireSpace(given, dtype=tf.float32, name="entire_space") if given else None
    if head.members > 1:  # training sees each of them
        mean = MemberMean(name="member_mean")
        scorer = tf.keras.Model(scorer.input, mean(scorer.output), name="mean")
    if finish is not None:
        chained = finish((scorer.output, scorer.input[MASK]))
        scorer = tf.keras.Model(scorer.input, chained, name="chained")
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

    network = training_graph(
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
        graph.plain,
        graph.names,
        stack=stack,
        tree_residual=tree_residual,
    )


def _way_to_the_score(head: ListwiseHead, name: str) -> tf.keras.layers.Dense:
    """A layer from a candidate's numbers to what they add to its scores; its weights start at 0."""
    return tf.keras.layers.Dense(
        max(len(head.tasks), 1),
        use_bias=False,
        kernel_initializer="zeros",
        dtype=tf.float32,
        name=name,
    )


def with_trees(model: RankingModel, blend: Blend) -> RankingModel:
    """Returns the ranker with trees added to its scorer.

    Args:
      model: A ranker of one score, without trees.
      blend: The trees.

    Raises:
      ValueError: The trees read numbers that the ranker does not have, or it has several scores.
    """
    absent = [name for name in blend.names if name not in model.plain_names]
    if model.plain is None or absent or isinstance(model.scorer.output, dict):
        raise ValueError("trees need a ranker of a single score that has the numbers they read")
    scorer = blend.model(model.scorer, model.plain, model.plain_names)
    return dataclasses.replace(model, scorer=scorer, blend=blend)


def plain_widths(features: Sequence[FeatureEncoder]) -> dict[str, int]:
    """How many numbers each feature has that trees can read unchanged, by name."""
    return {f.name: math.prod(f.spec.shape[1:]) for f in features if f.plain is not None}


def comparable(
    query: Sequence[FeatureEncoder], item: Sequence[FeatureEncoder]
) -> list[tuple[str, str]]:
    """The names of each pair of query feature and item feature whose vectors lie in one space.

    One encoder makes both vectors, or two encoders that are marked as aligned, such as an encoder
    of photos and one of texts.
    """
    pairs = [(one, other) for one in query for other in item]
    shared = [(one, other) for one, other in pairs if one.encoder is other.encoder]
    aligned = [
        (one, other)
        for one, other in pairs
        if one.encoder is not other.encoder and one.space and one.space == other.space
    ]
    # Shared pairs last: a query's projection begins as the map of its last pair.
    return [(one.name, other.name) for one, other in (*aligned, *shared)]


def match_parts(
    plan: MatchPlan | None,
    pairs: Sequence[tuple[str, str]],
    others: Mapping[str, Mapping[str, int]],
) -> tuple[MatchParts, MatchParts]:
    """What the item tower and the context tower provide for matching and for trees."""
    rows = match_rows(plan, (), others)
    of_queries, of_items = (
        {name: sum(width for _, width in parts) for name, parts in texts.items()}
        for texts in (rows.query_texts, rows.item_texts)
    )
    queries, items = (tuple(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    return (
        MatchParts(of_items, items, tuple(rows.item_numbers)),
        MatchParts(of_queries, queries, tuple(rows.query_numbers)),
    )


def check_input_names(features: Sequence[str], history: str | None, stacked: bool = False) -> None:
    """Checks that every input of the graphs has its own name; a shared one would feed both inputs.

    Args:
      features: The names of the features.
      history: The name of the history feature; None without one.
      stacked: Whether the network reads the score of trees.

    Raises:
      ValueError: Two inputs would have the same name.
    """
    taken = {SLOTS, MASK, "grades", "tokens", "present", "contexts", "contexts_present"}
    taken |= {MATCH, QUERY_MATCH, *([TREE_SCORE] if stacked else [])}
    taken |= set(history_names("history").values()) | {"history_tokens", label_name("position")}
    if history is not None:
        taken |= set(history_names(history).values())
    for feature in features:
        names = {feature, present_name(feature), terms_name(feature)}
        if names & taken:
            raise ValueError(
                f"feature {feature!r}: the input {sorted(names & taken)[0]!r} is in use; "
                "rename the feature"
            )
        taken |= names
