"""Scores of many lists: each item is encoded once, then lists are scored batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.data.batches import Batches, ListArrays, label_name
from mmrank.models import (
    MASK,
    QUERY_MATCH,
    SLOTS,
    TREE_SCORE,
    RankingModel,
    history_names,
    present_name,
)
from mmrank.towers import MATCH
from mmrank.tracing import traced
from mmrank.training_graph import context_inputs, gathered_inputs

ITEM_CHUNK = 256
SCORES = "scores"
Tensors = Mapping[str, tf.Tensor]


class ListScorer:
    """Scores the candidates of lists with a ranker. Its traced functions are kept for reuse.

    Args:
      model: The ranker.
      batch_lists: How many lists are scored at a time.
      buckets: Padded list lengths.
      encode: Replaces the item tower: its inputs → tokens [N, M, D] and present [N, M].
      score: Replaces `score_with_table`: a table and a batch → scores [B, L], by task if there are
        several.
    """

    def __init__(
        self,
        model: RankingModel,
        batch_lists: int,
        buckets: Sequence[int],
        encode: Callable[[Tensors], Tensors] | None = None,
        score: Callable[[Tensors, Tensors], tf.Tensor | Tensors] | None = None,
    ):
        self._model, self._batch_lists, self._buckets = model, batch_lists, buckets
        # Traced here: Keras runs callbacks in the scope of the strategy, and a hub model that is
        # traced in that scope reads placeholders instead of its variables.
        self._encode = encode or traced_tower(model)
        self._score = score or _traced_scores(model)
        self._fed = tuple(scored_inputs(model))

    def __call__(self, arrays: ListArrays) -> np.ndarray:
        """Scores [rows] float32 in the order of the rows; several tasks are combined into one."""
        return self.scores(self.raw(arrays))

    def scores(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores [rows] float32, given what `raw` returned."""
        outputs = self._model.outputs
        if outputs is None:
            return raw[SCORES]
        return outputs.scores({n: tf.constant(v) for n, v in raw.items()}).numpy()

    def raw(self, arrays: ListArrays) -> dict[str, np.ndarray]:
        """The network's outputs for every row, [rows] float32 by task; `scores` without tasks."""
        if not len(arrays.candidates):
            return {n: np.zeros(0, np.float32) for n in raw_names(self._model)}
        return self.by_row(
            arrays, lambda table, batch: by_name(self._model, self._score(table, batch))
        )

    def by_row(
        self, arrays: ListArrays, give: Callable[[Tensors, Tensors], Tensors]
    ) -> dict[str, np.ndarray]:
        """What a function returns for every candidate, [rows, ...] by name.

        Args:
          arrays: The lists, with at least one candidate.
          give: A table and a batch, as for `score_with_table` → tensors [B, L, ...] by name.
        """
        used = self._used(arrays)
        table = {n: tf.constant(v) for n, v in self.encode(arrays, used).items()}
        index_of = np.zeros(max(int(used.max()) + 1, 1), np.int32)
        index_of[used] = np.arange(len(used), dtype=np.int32)
        history = arrays.history
        if history is not None:
            history = dataclasses.replace(history, items=index_of[history.items])
        lists = dataclasses.replace(
            arrays,
            items={"number": np.arange(len(used), dtype=np.int32)},
            candidates=index_of[arrays.candidates],
            history=history,
        )
        rows: dict[str, np.ndarray] = {}
        for members, batch in Batches(lists, self._batch_lists, self._buckets).once():
            numbers = batch.pop("number")
            for slots in [SLOTS, *([history_names(history.name)["slots"]] if history else [])]:
                batch[slots] = numbers[batch[slots]]
            given = give(table, {n: tf.constant(batch[n]) for n in self._fed})
            for name, tensor in given.items():
                values = tensor.numpy()
                if name not in rows:
                    rows[name] = np.zeros([len(arrays.candidates), *values.shape[2:]], values.dtype)
                for b, i in enumerate(members):
                    first, last = arrays.offsets[i], arrays.offsets[i + 1]
                    rows[name][first:last] = values[b, : last - first]
        return rows

    def encode(self, arrays: ListArrays, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The table of the items with these item numbers.

        Returns:
          tokens [N, M, D], present [N, M] and perhaps match [N, W].
        """
        parts = [
            self._encode({n: tf.constant(a[chunk]) for n, a in arrays.items.items()})
            for chunk in np.split(numbers, range(ITEM_CHUNK, len(numbers), ITEM_CHUNK))
        ]
        return {n: np.concatenate([p[n].numpy() for p in parts]) for n in parts[0]}

    def _used(self, arrays: ListArrays) -> np.ndarray:
        items = [arrays.candidates]
        if arrays.history is not None:
            items.append(arrays.history.items)
        return np.unique(np.concatenate(items))


def traced_tower(model: RankingModel) -> Callable[[Tensors], Tensors]:
    """The item tower as one graph: its inputs → tokens [N, M, D] and present [N, M]."""
    return traced(
        lambda x: model.item_tower(x, training=False), [_specs(model.item_tower.input)]
    ).get_concrete_function()


def _traced_scores(model: RankingModel) -> Callable[[Tensors, Tensors], tf.Tensor | Tensors]:
    """`score_with_table` as one graph."""
    return traced_by_table(model, lambda table, batch: score_with_table(model, table, batch))


def traced_by_table(
    model: RankingModel, function: Callable[[Tensors, Tensors], Any]
) -> Callable[[Tensors, Tensors], Any]:
    """A function of the table and the batch that `score_with_table` takes, as one graph."""
    return traced(
        function, [_specs(model.item_tower.output), scored_inputs(model)]
    ).get_concrete_function()


def raw_names(model: RankingModel) -> tuple[str, ...]:
    """The names of a ranker's outputs: its tasks, or `scores` if it has none."""
    return (SCORES,) if model.outputs is None else model.outputs.names


def by_name(
    model: RankingModel, given: tf.Tensor | Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """A scorer's outputs by task, or as `scores` without tasks."""
    if isinstance(given, Mapping):
        return dict(given)
    return {raw_names(model)[0]: given}


def scored_inputs(model: RankingModel) -> dict[str, tf.TensorSpec]:
    """The inputs that `score_with_table` takes, for any number of lists, candidates and events."""
    left_out = {*model.item_tower.input, label_name("position"), TREE_SCORE}
    inputs = {n: t for n, t in model.network.input.items() if n not in left_out}
    return _specs(inputs)


def _specs(tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.TensorSpec]:
    return {n: tf.TensorSpec(t.shape, t.dtype) for n, t in tensors.items()}


def score_with_table(
    model: RankingModel, table: Tensors, batch: Tensors
) -> tf.Tensor | dict[str, tf.Tensor]:
    """Scores [B, L] of candidates whose tokens are in a table, by task if there are several.

    Args:
      model: The ranker.
      table: The item tower's outputs: tokens [N, M, D], present [N, M] and possibly match [N, W].
      batch: As `Batches` makes it, without item features; its slots are rows of the table.
    """
    contexts = encoded_contexts(model, batch)
    return model.scorer(scorer_inputs(model, table, batch, contexts), training=False)


def scorer_inputs(
    model: RankingModel, table: Tensors, batch: Tensors, contexts: Tensors
) -> dict[str, tf.Tensor]:
    """The scorer's inputs, from a table of items, a batch and its contexts.

    Args:
      model: The ranker.
      table, batch: As for `score_with_table`.
      contexts: As `encoded_contexts` returns them.
    """
    return gathered_inputs(model.scorer, table, contexts, batch, model.history)


def encoded_contexts(model: RankingModel, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The scorer's inputs of query and user.

    Returns:
      contexts [B, C, D], contexts_present [B, C] and possibly query_match [B, V].

    Args:
      model: The ranker.
      batch: The inputs of its context tower; others are ignored.
    """
    context = model.context_tower({n: batch[n] for n in model.context_tower.input}, training=False)
    return context_inputs(context)


def hide(arrays: ListArrays, hidden: Mapping[str, np.ndarray]) -> ListArrays:
    """The same lists with some features absent on some items.

    Args:
      arrays: The lists.
      hidden: For each item feature, the items on which to hide it, [items] bool.
    """
    items = dict(arrays.items)
    for name, where in hidden.items():
        items[present_name(name)] = items[present_name(name)] & ~where
    return dataclasses.replace(arrays, items=items)


def without(arrays: ListArrays, drop: Sequence[str]) -> ListArrays:
    """The same lists with some features absent everywhere.

    Args:
      arrays: The lists.
      drop: Names of features; the history may be among them.
    """
    history = arrays.history
    if history is not None and history.name in drop:
        arrays = dataclasses.replace(arrays, users=np.full_like(arrays.users, -1))
    hidden = {present_name(name) for name in drop}

    def emptied(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: np.zeros_like(a) if n in hidden else a for n, a in table.items()}

    return dataclasses.replace(
        arrays,
        items=emptied(arrays.items),
        contexts=emptied(arrays.contexts),
        pairs=emptied(arrays.pairs),
    )


def traced_numbers(model: RankingModel) -> Callable[[Tensors], Tensors]:
    """As `traced_tower`, with zeros in place of tokens; what only tokens need is not computed."""

    def give(inputs: Tensors) -> dict[str, tf.Tensor]:
        made = model.item_tower(inputs, training=False)
        tokens = made["tokens"]
        shape = [tf.shape(made["present"])[0], *tokens.shape[1:]]
        return made | {"tokens": tf.zeros(shape, tokens.dtype)}

    return traced(give, [_specs(model.item_tower.input)]).get_concrete_function()


def plain_numbers(model: RankingModel, scorer: ListScorer, arrays: ListArrays) -> np.ndarray:
    """The numbers [rows, F] float32 that trees read of all candidates.

    Args:
      model: A ranker that has such numbers.
      scorer: A scorer of it.
      arrays: The lists.
    """
    plain = model.plain
    assert plain is not None

    def give(table: Tensors, batch: Tensors) -> dict[str, tf.Tensor]:
        fed = scorer_inputs(model, dict(table), dict(batch), encoded_contexts(model, batch))
        return {"numbers": plain(fed, training=False)}

    if not len(arrays.candidates):
        return np.zeros([0, len(model.plain_names)], np.float32)
    return scorer.by_row(arrays, traced_by_table(model, give))["numbers"]


def match_features(
    model: RankingModel,
    scorer: ListScorer,
    arrays: ListArrays,
    give: Callable[[Tensors, Tensors], Tensors] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The match features [rows, F] of all candidates, and where they are present, [rows, F] bool.

    Args:
      model: A ranker with a matcher.
      scorer: A scorer of it.
      arrays: The lists.
      give: What `traced_matches` returned for the model, to save tracing it again.
    """
    rows = scorer.by_row(arrays, give or traced_matches(model))
    return rows["features"], rows["there"]


def traced_matches(model: RankingModel) -> Callable[[Tensors, Tensors], Tensors]:
    """One graph from a table and a batch to match features, for a ranker with a matcher."""
    matcher = model.matcher
    assert matcher is not None

    def give(table: Tensors, batch: Tensors) -> dict[str, tf.Tensor]:
        fed = scorer_inputs(model, dict(table), dict(batch), encoded_contexts(model, batch))
        features, there = matcher.features(
            (fed[QUERY_MATCH], fed[MATCH], fed["present"], fed[MASK])
        )
        return {"features": features, "there": there}

    return traced_by_table(model, give)
