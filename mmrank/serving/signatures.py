"""The served ranker: raw values in, scores out, all tensors flat, named and dense.

The signatures, with B lists, L candidates, H events, N items, M modalities, width D. If the ranker
has tasks, each signature that returns scores also returns an output [B, L] for each task:

    serving_default             raw features of query, user and every candidate    → scores [B, L]
    rank_items                  item ids instead of raw item features              → scores [B, L]
    encode_items                raw features of items [N]    → tokens, present, embedding [N, ...]
    encode_queries              raw features of query and user [B]      → contexts, contexts_present
    lookup_items                item ids [N]                            → tokens, present, known
    rank_embeddings             outputs of the last three instead of raw features  → scores [B, L]
    tensorflow/serving/predict  serialized ExampleListWithContext [B]              → scores [B, L]
    tensorflow/serving/regress  serialized Example [B], a candidate with its context  → outputs [B]

A feature NAME is sent as one raw scalar a value (an image as its file's bytes) with a flag
NAME_present of the same shape. The value under a False flag is ignored. An empty text or a number
that is not finite counts as absent whatever its flag is.

A ranker that compares queries and candidates directly has two more tensors, both float32: `match`
[..., W] wherever there are tokens, and `query_match` [B, V] wherever there are contexts. They hold
hashes: whole numbers that must not be rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmrank.compression.item_table import FULL
from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.models import MATCH, QUERY_MATCH, RankingModel, present_name
from mmrank.scoring import SCORES
from mmrank.serving.elwc import parse_examples, parse_lists
from mmrank.serving.graphs import Graphs, Tensors, resources
from mmrank.serving.lists import ServedLists
from mmrank.serving.raw import check_names, column_specs, history_specs, stored_history_specs
from mmrank.serving.rearranging import RERANK
from mmrank.serving.reranked import PolicyTables, ServedPolicy
from mmrank.serving.stored import StoredItems
from mmrank.tracing import traced

LIST_LENGTH, ITEMS = "list_length", "items"
DEFAULT, RANK_ITEMS, ENCODE_ITEMS = "serving_default", "rank_items", "encode_items"
ENCODE_QUERIES, LOOKUP_ITEMS = "encode_queries", "lookup_items"
RANK_EMBEDDINGS = "rank_embeddings"
PREDICT = "tensorflow/serving/predict"
REGRESS = "tensorflow/serving/regress"


class ServedRanker(tf.Module):
    """A ranker with its preprocessing and an encoded catalogue, ready for `tf.saved_model.save`.

    Args:
      model: The ranker.
      features: Its fitted features.
      ids: Item ids [N], unique texts.
      table: tokens [N + 1, M, D], present [N + 1, M] and perhaps match [N + 1, W] of these items;
        the last row is that of an item with nothing present, and is used for every unknown id.
      graphs: The model's `ranker_graphs`.
      storage: How the table stores its tokens, as `StoredItems` takes it.
      policy: A policy that rearranges pages, for the signature `rerank`; None for no such one.

    Raises:
      SchemaError: A feature has the name of another input of a signature.
    """

    def __init__(
        self,
        model: RankingModel,
        features: Features,
        ids: Sequence[str],
        table: Mapping[str, np.ndarray],
        graphs: Graphs,
        storage: str = FULL,
        policy: PolicyTables | None = None,
    ):
        super().__init__(name="mmrank")
        self._model, self._features, self._graphs = model, features, graphs
        self.items = StoredItems(ids, table, storage)
        self.policy = None if policy is None else ServedPolicy(policy, len(ids), self.items.rows)
        self.lists = ServedLists(model, features, graphs)
        # The graphs are closures, so the variables that they use have to be tracked here to be
        # saved. Tracking the Keras models would trace and save each of their calls once more.
        self.weights = list(model.network.weights)
        for specs in (self.raw_inputs(), self.id_inputs(), self.embedding_inputs()):
            check_names(specs)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the concrete functions by signature name."""
        serialized = [tf.TensorSpec([None], tf.string, tf.saved_model.PREDICT_INPUTS)]
        rank_raw = _concrete(self.rank_raw, self.raw_inputs())

        def rank_lists(inputs: Tensors) -> dict[str, tf.Tensor]:
            return rank_raw(**self.parse_lists(inputs[tf.saved_model.PREDICT_INPUTS]))

        def regress(inputs: Tensors) -> dict[str, tf.Tensor]:
            scores = rank_raw(**self.parse_examples(inputs[tf.saved_model.REGRESS_INPUTS]))
            return {tf.saved_model.REGRESS_OUTPUTS: scores[SCORES][:, 0]}

        functions = {
            DEFAULT: rank_raw,
            RANK_ITEMS: _concrete(self.rank_items, self.id_inputs()),
            ENCODE_ITEMS: _concrete(self.encode_items, self.item_inputs()),
            LOOKUP_ITEMS: _concrete(self.lookup_items, [tf.TensorSpec([None], tf.string, ITEMS)]),
            RANK_EMBEDDINGS: _concrete(self.rank_embeddings, self.embedding_inputs()),
            PREDICT: _concrete(rank_lists, serialized),
            REGRESS: _concrete(regress, serialized),
        }
        if self.policy is not None:
            modalities, width = self._model.scorer.input["tokens"].shape[2:]
            functions[RERANK] = _concrete(self.policy.rerank, self.policy.inputs(modalities, width))
        if self.context_inputs():
            functions[ENCODE_QUERIES] = _concrete(self.encode_queries, self.context_inputs())
        # Set after tracing, since a feature may make its lookup table when it is first traced.
        self.resources = resources(self._graphs, self._model)
        return functions

    def raw_inputs(self) -> list[tf.TensorSpec]:
        """Returns the inputs of `serving_default`."""
        return [
            *column_specs(self._of("query", "user"), [None]),
            *history_specs(self._model.history),
            *column_specs(self._of("item", "pair"), [None, None]),
            tf.TensorSpec([None], tf.int32, LIST_LENGTH),
        ]

    def id_inputs(self) -> list[tf.TensorSpec]:
        """Returns the inputs of `rank_items`."""
        return [
            *column_specs(self._of("query", "user"), [None]),
            *history_specs(self._model.history),
            *column_specs(self._of("pair"), [None, None]),
            tf.TensorSpec([None, None], tf.string, ITEMS),
        ]

    def context_inputs(self) -> list[tf.TensorSpec]:
        """Returns the inputs of `encode_queries`; empty for a ranker without such features."""
        return column_specs(self._of("query", "user"), [None])

    def embedding_inputs(self) -> list[tf.TensorSpec]:
        """Returns the inputs of `rank_embeddings`."""
        scorer = self._model.scorer.input
        modalities, width = scorer["tokens"].shape[2:]
        matched = [
            tf.TensorSpec(scorer[name].shape, tf.float32, name)
            for name in (MATCH, QUERY_MATCH)
            if name in scorer
        ]
        contexts = []
        if self.context_inputs():
            shape = scorer["contexts"].shape
            contexts = [
                tf.TensorSpec(shape, tf.float32, "contexts"),
                tf.TensorSpec(shape[:2], tf.bool, "contexts_present"),
            ]
        return [
            *contexts,
            *stored_history_specs(self._model.history, modalities, width),
            *column_specs(self._of("pair"), [None, None]),
            tf.TensorSpec([None, None, modalities, width], tf.float32, "tokens"),
            tf.TensorSpec([None, None, modalities], tf.bool, "present"),
            *matched,
            tf.TensorSpec([None], tf.int32, LIST_LENGTH),
        ]

    def item_inputs(self) -> list[tf.TensorSpec]:
        """Returns the inputs of `encode_items`."""
        return column_specs(self._of("item"), [None])

    def rank_raw(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns scores [B, L] of candidates given by their raw features.

        Args:
          inputs: Query and user features [B], item and pair features [B, L], each with its flag;
            list_length [B] int32, the number of candidates of each list (the rest is padding); the
            history's HISTORY_items and HISTORY_types [B, H] string and HISTORY_ages [B, H]
            float32 days, oldest event first.

        Masking: padding changes no score and has the score −1e9.
        """
        lead = self._of("item")[0].name
        inputs = _some(inputs, lead)
        mask = tf.sequence_mask(inputs[LIST_LENGTH], tf.shape(inputs[lead])[1])
        flat = {}
        for kind in self._of("item"):
            flat[kind.name] = tf.reshape(inputs[kind.name], [-1])
            there = inputs[present_name(kind.name)] & mask  # padding is not worth decoding
            flat[present_name(kind.name)] = tf.reshape(there, [-1])
        shape = tf.shape(mask)
        items = {
            name: tf.reshape(value, tf.concat([shape, value.shape[1:]], 0))
            for name, value in self._encode(flat).items()
        }
        contexts = self.lists.contexts(inputs, mask)
        return self.lists.scores(contexts, inputs, items, self._history(inputs), mask)

    def rank_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns scores [B, L] of candidates given by their ids.

        Args:
          inputs: As for `rank_raw`, without item features and list_length, but with items [B, L]
            string: item ids, the empty text for padding. An unknown id is ranked as an item with
            nothing present.
        """
        inputs = _some(inputs, ITEMS)
        mask = inputs[ITEMS] != ""
        rows, _ = self.items.rows(inputs[ITEMS])
        contexts = self.lists.contexts(inputs, mask)
        items = self.items.gather(rows)
        return self.lists.scores(contexts, inputs, items, self._history(inputs), mask)

    def rank_embeddings(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns scores [B, L] of candidates given by their tokens.

        The scores are those that `rank_items` returns for the candidates' ids.

        Args:
          inputs: contexts [B, C, D] float32 and contexts_present [B, C] as `encode_queries` returns
            them; pair features [B, L], each with its flag; tokens [B, L, M, D] float32 and present
            [B, L, M] as `lookup_items` or `encode_items` return them; query_match and match from
            the same signatures if the ranker has them; list_length [B] int32; of a history
            HISTORY_tokens [B, H, M, D] float32, HISTORY_known [B, H] bool, HISTORY_types [B, H]
            string and HISTORY_ages [B, H] float32 days, oldest event first.

        Masking: padding, events that are not known and the tokens of absent modalities change no
          score, whatever their values. Padding has the score −1e9.
        """
        inputs = _some(inputs, "present")
        mask = tf.sequence_mask(inputs[LIST_LENGTH], tf.shape(inputs["present"])[1])
        present = inputs["present"] & mask[..., None]
        tokens = tf.where(present[..., None], inputs["tokens"], self.items.absent)
        history: dict[str, tf.Tensor] = {}
        name = self._model.history
        if name is not None:
            events = inputs[f"{name}_tokens"]
            history = self.lists.history(inputs, inputs[f"{name}_known"], events)
        if self.context_inputs():
            contexts = {n: inputs[n] for n in ("contexts", "contexts_present")}
        else:
            contexts = self.lists.contexts(inputs, mask)
        items = {"tokens": tokens, "present": present}
        if MATCH in inputs:
            items[MATCH] = inputs[MATCH]
        if QUERY_MATCH in inputs:
            contexts = {**contexts, QUERY_MATCH: inputs[QUERY_MATCH]}
        return self.lists.scores(contexts, inputs, items, history, mask)

    def encode_queries(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Encodes query and user features [B] for `rank_embeddings`.

        Returns:
          contexts [B, C, D] float32, contexts_present [B, C] and perhaps query_match [B, V].

        The query has one context and the user has one; a side without features has none.
        """
        lead = inputs[self._of("query", "user")[0].name]
        return self.lists.contexts(inputs, tf.ones([tf.size(lead), 1], tf.bool))

    def lookup_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns embeddings of items of the catalogue given by their ids [N].

        Returns:
          tokens [N, M, D] float32, present [N, M] bool, perhaps match [N, W] float32, and known [N]
          bool. An unknown id has the tokens of an item with nothing present.
        """
        rows, known = self.items.rows(inputs[ITEMS])
        return {**self.items.gather(rows), "known": known}

    def encode_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns embeddings of items given by their raw features [N].

        Returns:
          tokens [N, M, D] float32 and present [N, M] bool, one token a modality; perhaps match
          [N, W] float32; embedding [N, D], the mean over the present tokens, zeros if no token is
          present.
        """
        encoded = self._encode(_some(inputs, self._of("item")[0].name))
        weight = tf.cast(encoded["present"], tf.float32)[..., None]
        total = tf.reduce_sum(encoded["tokens"] * weight, 1)
        return {**encoded, "embedding": total / tf.maximum(tf.reduce_sum(weight, 1), 1.0)}

    def parse_lists(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the inputs of `rank_raw` from serialized ExampleListWithContext messages [B]."""
        columns = list(self._features.columns.values())
        return parse_lists(serialized, columns, self._model.history, LIST_LENGTH)

    def parse_examples(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the inputs of `rank_raw` from serialized Example messages [B].

        Each message is a list of one candidate.
        """
        columns = list(self._features.columns.values())
        return parse_examples(serialized, columns, self._model.history, LIST_LENGTH)

    def _of(self, *sides: str) -> list[FeatureKind]:
        return self._features.of_side(*sides)

    def _encode(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns the item tower's outputs for raw items [N], N at least 1, tokens in float32."""
        encoded = self._graphs.items(self.lists.prepared(self._of("item"), inputs))
        return {**encoded, "tokens": tf.cast(encoded["tokens"], tf.float32)}

    def _history(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns the history as `ServedLists.scores` takes it, without events on unknown items."""
        name = self._model.history
        if name is None:
            return {}
        # The empty text is padding, even if an item of the catalogue has it as its id.
        rows, known = self.items.rows(inputs[f"{name}_items"])
        known &= inputs[f"{name}_items"] != ""
        history = self.lists.history(inputs, known, rows)
        return history | {"events": self.items.gather(history["events"])["tokens"]}


def _some(inputs: Tensors, lead: str) -> dict[str, tf.Tensor]:
    """Returns the inputs, with a check in the graph that there is at least one candidate.

    Every input waits for the check. Otherwise a part of the graph that fails without candidates
    may run first, and the client would receive its error instead of the clear one.
    """
    check = tf.debugging.assert_positive(
        tf.size(inputs[lead]), message="there is no candidate: send at least one"
    )
    with tf.control_dependencies([check]):
        return {n: tf.identity(t) for n, t in inputs.items()}


def _concrete(
    function: Callable[[Tensors], dict[str, tf.Tensor]], specs: Sequence[tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """Returns the function traced with every input as an argument of the input's name."""

    def named(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(inputs)

    return traced(named).get_concrete_function(**{s.name: s for s in specs})
