"""The served ranker: raw values in, scores out, all tensors flat, named and dense.

The four signatures, with B lists, L candidates, H events, N items, M modalities, width D; beside
the scores stands an output [B, L] for each task, if the ranker has tasks:

    serving_default             raw features of query, shopper and every candidate → scores [B, L]
    rank_items                  item ids instead of raw item features              → scores [B, L]
    encode_items                raw features of items [N]    → tokens, present, embedding [N, ...]
    tensorflow/serving/predict  serialized ExampleListWithContext [B]              → scores [B, L]

A feature NAME comes as one raw scalar a value (an image as its file's bytes) with a flag
NAME_present of the same shape; the value under a False flag is ignored, and an empty text or a
number that is not finite counts as absent whatever its flag says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.models import MASK, SLOTS, RankingModel, present_name
from mmrank.scoring import SCORES, by_name
from mmrank.serving.elwc import parse_lists
from mmrank.serving.graphs import Graphs, Tensors, resources
from mmrank.serving.raw import (
    check_names,
    cleaned,
    column_specs,
    history_specs,
    id_lookup,
)

# JSON knows no infinity, so padding gets a finite score below every real one.
PADDED_SCORE = -1e9
LIST_LENGTH, ITEMS = "list_length", "items"
DEFAULT, RANK_ITEMS, ENCODE_ITEMS = "serving_default", "rank_items", "encode_items"
PREDICT = "tensorflow/serving/predict"


class ServedRanker(tf.Module):
    """A ranker with its preprocessing and an encoded catalogue, ready for `tf.saved_model.save`.

    Args:
      model: The ranker.
      features: Its fitted features.
      ids: Item ids [N], unique texts.
      table: tokens [N + 1, M, D] and present [N + 1, M] of these items; the last row is that of
        an item with nothing present, which stands for every unknown id.
      graphs: The model's `ranker_graphs`.

    Raises:
      SchemaError: A feature's name is taken by another input of a signature.
    """

    def __init__(
        self,
        model: RankingModel,
        features: Features,
        ids: Sequence[str],
        table: Mapping[str, np.ndarray],
        graphs: Graphs,
    ):
        super().__init__(name="mmrank")
        self._model, self._features, self._graphs = model, features, graphs
        self.unknown = len(ids)
        self.tokens = tf.Variable(table["tokens"], trainable=False, name="item_tokens")
        self.present = tf.Variable(table["present"], trainable=False, name="item_present")
        self.item_rows = id_lookup(ids, range(len(ids)), default=len(ids))
        if features.history is not None:
            types = features.history.types
            self.event_types = id_lookup(types, range(1, len(types) + 1), default=0)
        # The graphs are closed over; what they hold has to be tracked to be saved. The Keras
        # models themselves would be saved with every call traced once more.
        self.weights = list(model.network.weights)
        for specs in (self.raw_inputs(), self.id_inputs()):
            check_names(specs)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The concrete functions by signature name."""
        serialized = [tf.TensorSpec([None], tf.string, tf.saved_model.PREDICT_INPUTS)]
        rank_raw = _concrete(self.rank_raw, self.raw_inputs())

        def rank_lists(inputs: Tensors) -> dict[str, tf.Tensor]:
            return rank_raw(**self.parse_lists(inputs[tf.saved_model.PREDICT_INPUTS]))

        functions = {
            DEFAULT: rank_raw,
            RANK_ITEMS: _concrete(self.rank_items, self.id_inputs()),
            ENCODE_ITEMS: _concrete(self.encode_items, self.item_inputs()),
            PREDICT: _concrete(rank_lists, serialized),
        }
        # Only now, since a feature may make its lookup table when it is first traced.
        self.resources = resources(self._features.columns.values(), self._model)
        return functions

    def raw_inputs(self) -> list[tf.TensorSpec]:
        """The inputs of `serving_default`."""
        return [
            *column_specs(self._of("query", "user"), [None]),
            *history_specs(self._model.history),
            *column_specs(self._of("item", "pair"), [None, None]),
            tf.TensorSpec([None], tf.int32, LIST_LENGTH),
        ]

    def id_inputs(self) -> list[tf.TensorSpec]:
        """The inputs of `rank_items`."""
        return [
            *column_specs(self._of("query", "user"), [None]),
            *history_specs(self._model.history),
            *column_specs(self._of("pair"), [None, None]),
            tf.TensorSpec([None, None], tf.string, ITEMS),
        ]

    def item_inputs(self) -> list[tf.TensorSpec]:
        """The inputs of `encode_items`."""
        return column_specs(self._of("item"), [None])

    def rank_raw(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Scores [B, L] of candidates given by their raw features.

        Args:
          inputs: Query and user features [B], item and pair features [B, L], each with its flag;
            list_length [B] int32, the candidates of each list (the rest is padding); the
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
        return self._score(inputs, self._encode(flat), mask)

    def rank_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Scores [B, L] of candidates given by their ids.

        Args:
          inputs: As for `rank_raw`, without item features and list_length, but with items [B, L]
            string: item ids, the empty text for padding. An unknown id is ranked as an item of
            which nothing is known.
        """
        inputs = _some(inputs, ITEMS)
        known = self._stored(self.item_rows.lookup(inputs[ITEMS]))
        return self._score(inputs, known, inputs[ITEMS] != "")

    def encode_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Embeddings of items given by their raw features [N].

        Returns:
          tokens [N, M, D] float32 and present [N, M] bool, one token a modality; embedding
          [N, D], the mean over the present tokens, zeros where none is present.
        """
        encoded = self._encode(_some(inputs, self._of("item")[0].name))
        tokens, present = tf.cast(encoded["tokens"], tf.float32), encoded["present"]
        weight = tf.cast(present, tf.float32)[..., None]
        mean = tf.reduce_sum(tokens * weight, 1) / tf.maximum(tf.reduce_sum(weight, 1), 1.0)
        return {"tokens": tokens, "present": present, "embedding": mean}

    def parse_lists(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """The inputs of `rank_raw` in serialized ExampleListWithContext messages [B]."""
        columns = list(self._features.columns.values())
        return parse_lists(serialized, columns, self._model.history, LIST_LENGTH)

    def _of(self, *sides: str) -> list[FeatureKind]:
        return self._features.of_side(*sides)

    def _encode(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Tokens and presence of items [N], N at least 1."""
        return self._graphs.items(self._prepared(self._of("item"), inputs))

    def _prepared(self, kinds: Iterable[FeatureKind], inputs: Tensors) -> dict[str, tf.Tensor]:
        """Encoder inputs [N, ...] and presence [N] of raw features [N]."""
        fed = {}
        for kind in kinds:
            raw, present = cleaned(kind, inputs[kind.name], inputs[present_name(kind.name)])
            fed[kind.name] = self._graphs.preprocess[kind.name](raw)
            fed[present_name(kind.name)] = present
        return fed

    def _stored(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokens [N, M, D] and presence [N, M] of rows of the stored table, flattened to [N]."""
        rows = tf.reshape(rows, [-1])
        return {"tokens": tf.gather(self.tokens, rows), "present": tf.gather(self.present, rows)}

    def _history(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """The model's history inputs [B, length]: the latest events whose item is known."""
        history = self._features.history
        if history is None:
            return {}
        items = inputs[f"{history.name}_items"]
        rows = self.item_rows.lookup(items)
        known = (items != "") & (rows < self.unknown)
        types = self.event_types.lookup(inputs[f"{history.name}_types"])
        ages = inputs[f"{history.name}_ages"]
        ages = tf.where(tf.math.is_finite(ages), ages, 0.0)
        length = history.options.length

        def latest(values: tf.Tensor) -> tf.Tensor:
            events = tf.ragged.boolean_mask(values, known)[:, -length:]
            return events.to_tensor(shape=[None, length])

        count = tf.reduce_sum(tf.cast(known, tf.int32), -1)
        by_role = {
            "slots": latest(rows),
            "types": latest(types),
            "ages": latest(ages),
            "mask": tf.sequence_mask(count, length),
        }
        return {self._model.history_input(role): t for role, t in by_role.items()}

    def _score(self, inputs: Tensors, items: Tensors, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores, and each task's output, of candidates whose tokens stand in row order in `items`.

        All are [B, L]; of padding, scores are −1e9 and outputs 0.
        """
        shape = tf.shape(mask)
        batch = {MASK: mask, SLOTS: tf.reshape(tf.range(tf.size(mask)), shape)}
        batch |= self._prepared(self._of("query", "user"), inputs)
        for kind in self._of("pair"):
            flag = present_name(kind.name)
            flat = {kind.name: inputs[kind.name], flag: inputs[flag] & mask}
            flat = self._prepared([kind], {n: tf.reshape(t, [-1]) for n, t in flat.items()})
            for name, value in flat.items():
                rest = value.shape[1:]
                spread = tf.reshape(value, tf.concat([shape, rest], 0))
                batch[name] = tf.ensure_shape(spread, [None, None, *rest])
        history = self._history(inputs)
        if history:
            # The table of this request: its candidates, then its events.
            slots = self._model.history_input("slots")
            events = self._stored(history[slots])
            items = {n: tf.concat([items[n], events[n]], 0) for n in events}
            at = tf.reshape(tf.range(tf.size(history[slots])), tf.shape(history[slots]))
            batch |= history | {slots: tf.size(mask) + at}
        raw = by_name(self._model, self._graphs.scores(dict(items), batch))
        outputs = self._model.outputs
        if outputs is None:
            return {SCORES: tf.where(mask, raw[SCORES], PADDED_SCORE)}
        return {
            SCORES: tf.where(mask, outputs.scores(raw), PADDED_SCORE),
            **{n: tf.where(mask, p, 0.0) for n, p in outputs.predictions(raw).items()},
        }


def _some(inputs: Tensors, lead: str) -> dict[str, tf.Tensor]:
    """The inputs, once it is sure that there is a candidate.

    Every input waits for the check: otherwise a part of the graph that chokes on nothing may
    be run first, and its error, not the clear one, would reach the client.
    """
    check = tf.debugging.assert_positive(
        tf.size(inputs[lead]), message="there is no candidate: send at least one"
    )
    with tf.control_dependencies([check]):
        return {n: tf.identity(t) for n, t in inputs.items()}


def _concrete(
    function: Callable[[Tensors], dict[str, tf.Tensor]], specs: Sequence[tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """The function traced with every input as an argument of its own name."""

    @tf.function(autograph=False)  # what needs converting are the shared graphs
    def named(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(inputs)

    return named.get_concrete_function(**{s.name: s for s in specs})
