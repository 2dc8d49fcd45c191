"""Lists scored in the graph of an export: contexts, the history, and the scores of candidates."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.matching.plan import terms_name
from mmrank.models import MASK, RankingModel, present_name
from mmrank.scoring import SCORES, by_name
from mmrank.serving.graphs import Graphs, Tensors
from mmrank.serving.raw import cleaned, id_lookup

# JSON has no infinity, so padding gets a finite score below every real one.
PADDED_SCORE = -1e9


class ServedLists(tf.Module):
    """The parts of a ranker that run for each request, on raw values.

    Args:
      model: The ranker.
      features: Its fitted features.
      graphs: The model's `ranker_graphs`.
    """

    def __init__(self, model: RankingModel, features: Features, graphs: Graphs):
        super().__init__(name="served_lists")
        self._model, self._features, self._graphs = model, features, graphs
        if features.history is not None:
            types = features.history.types
            self.event_types = id_lookup(types, range(1, len(types) + 1), default=0)

    def prepared(self, kinds: Iterable[FeatureKind], inputs: Tensors) -> dict[str, tf.Tensor]:
        """Returns encoder inputs [N, ...], presence [N] and terms [N, W] of raw features [N]."""
        fed = {}
        for kind in kinds:
            raw, present = cleaned(kind, inputs[kind.name], inputs[present_name(kind.name)])
            fed[kind.name] = self._graphs.preprocess[kind.name](raw)
            fed[present_name(kind.name)] = present
            if kind.name in self._graphs.terms:
                fed[terms_name(kind.name)] = self._graphs.terms[kind.name](raw)
        return fed

    def contexts(self, inputs: Tensors, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encodes query and user features [B] for the scorer.

        Returns:
          contexts [B, C, D] float32, contexts_present [B, C] and perhaps query_match [B, V].

        The mask [B, L] gives the number of lists for a ranker without such features.
        """
        kinds = self._features.of_side("query", "user")
        contexts = self._graphs.contexts({MASK: mask} | self.prepared(kinds, inputs))
        return contexts | {"contexts": tf.cast(contexts["contexts"], tf.float32)}

    def history(self, inputs: Tensors, known: tf.Tensor, events: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the latest events whose item is known, [B, length], by role.

        The roles are events, types, ages and mask. A history of fewer events is padded with zeros.

        Args:
          inputs: HISTORY_types [B, H] string and HISTORY_ages [B, H] float32.
          known: Whether an event's item is known [B, H] bool; False for padding.
          events: Values that represent the items, [B, H, ...], such as rows or tokens.
        """
        history = self._features.history
        assert history is not None
        length = history.options.length

        def latest(values: tf.Tensor) -> tf.Tensor:
            kept = tf.ragged.boolean_mask(values, known)[:, -length:]
            return kept.to_tensor(shape=[None, length, *values.shape[2:]])

        ages = inputs[f"{history.name}_ages"]
        return {
            "events": latest(events),
            "types": latest(self.event_types.lookup(inputs[f"{history.name}_types"])),
            "ages": latest(tf.where(tf.math.is_finite(ages), ages, 0.0)),
            "mask": tf.sequence_mask(tf.reduce_sum(tf.cast(known, tf.int32), -1), length),
        }

    def scores(
        self,
        contexts: Tensors,
        pairs: Tensors,
        items: Tensors,
        history: Tensors,
        mask: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns scores and each task's output, [B, L]; padding has scores −1e9 and outputs 0.

        Args:
          contexts: As `contexts` returns them.
          pairs: Raw query-item features [B, L] and their flags.
          items: Tokens [B, L, M, D], present [B, L, M] and perhaps match [B, L, W] of the
            candidates.
          history: As `history` returns it, with the tokens [B, length, M, D] of its events; empty
            for a ranker without history.
          mask: [B, L], False for padding.
        """
        fed = {MASK: mask} | dict(items) | dict(contexts)
        fed |= self._pairs(pairs, mask)
        if history:
            fed["history_tokens"] = history["events"]
            fed |= {f"history_{role}": history[role] for role in ("types", "ages", "mask")}
        # Towers and scorer may compute in bfloat16, which clients cannot send.
        fed = {n: tf.cast(fed[n], t.dtype) for n, t in self._model.scorer.input.items()}
        raw = by_name(self._model, self._graphs.scorer(fed))
        outputs = self._model.outputs
        if outputs is None:
            return {SCORES: tf.where(mask, raw[SCORES], PADDED_SCORE)}
        return {
            SCORES: tf.where(mask, outputs.scores(raw), PADDED_SCORE),
            **{n: tf.where(mask, p, 0.0) for n, p in outputs.predictions(raw).items()},
        }

    def _pairs(self, inputs: Tensors, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns encoder inputs [B, L, ...] and presence [B, L] of query-item features."""
        shape, fed = tf.shape(mask), {}
        for kind in self._features.of_side("pair"):
            flag = present_name(kind.name)
            flat = {kind.name: inputs[kind.name], flag: inputs[flag] & mask}
            flat = self.prepared([kind], {n: tf.reshape(t, [-1]) for n, t in flat.items()})
            for name, value in flat.items():
                rest = value.shape[1:]
                spread = tf.reshape(value, tf.concat([shape, rest], 0))
                fed[name] = tf.ensure_shape(spread, [None, None, *rest])
        return fed
