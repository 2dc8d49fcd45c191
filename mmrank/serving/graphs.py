"""The parts of a ranker as graphs, and the objects that these refer to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_hub

from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.models import RankingModel
from mmrank.scoring import encoded_contexts
from mmrank.tracing import traced

Tensors = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Graphs:
    """The parts of a ranker as graphs, traced once however many signatures use them.

    Attributes:
      items: Item features [N, ...] → tokens [N, M, D], present [N, M] and perhaps match [N, W].
      contexts: Features of query and user → contexts [B, C, D], contexts_present [B, C] and
        perhaps query_match [B, V].
      scorer: The scorer's inputs → scores [B, L], by task if there are several.
      preprocess: Raw values [N] → encoder inputs [N, ...], by feature.
      terms: Raw texts [N] → the values that they are matched by, [N, W] float32, by feature.
      kinds: The feature kinds that preprocess values here, one for each shared preprocessing.
      tables: Lookup tables that `terms` refer to.
    """

    items: Callable[[Tensors], dict[str, tf.Tensor]]
    contexts: Callable[[Tensors], dict[str, tf.Tensor]]
    scorer: Callable[[Tensors], tf.Tensor | dict[str, tf.Tensor]]
    preprocess: Mapping[str, Callable[[tf.Tensor], tf.Tensor]]
    terms: Mapping[str, Callable[[tf.Tensor], tf.Tensor]]
    kinds: Sequence[FeatureKind]
    tables: Sequence[tf.Module] = ()


def ranker_graphs(model: RankingModel, features: Features, tf_text: bool = False) -> Graphs:
    """Returns the graphs of a ranker over fitted features.

    Args:
      model: The ranker.
      features: Its fitted features.
      tf_text: Whether texts are processed by the ops of TF-Text, as in training. If False,
        TensorFlow's own ops are used, which return the same and exist in every server.
    """
    tower, scorer = model.item_tower, model.scorer
    by_key: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {}
    preprocess = {}
    kinds = []
    for kind in features.columns.values():
        key = kind.sharing() or kind.name  # features of one encoder have one preprocessing
        if key not in by_key:
            kinds.append(kind if tf_text else kind.portable())
            by_key[key] = kinds[-1].traced_preprocess()
        preprocess[kind.name] = by_key[key]
    rows = {}
    if features.matching is not None:
        found = {n: features.matching.rows(n) for n in features.columns}
        rows = {n: r for n, r in found.items() if r is not None}
    return Graphs(
        items=_of_model(lambda inputs: tower(inputs, training=False), tower),
        contexts=_of_model(lambda inputs: encoded_contexts(model, inputs), model.context_tower),
        scorer=_of_model(lambda inputs: scorer(inputs, training=False), scorer),
        preprocess=preprocess,
        terms={n: r.traced for n, r in rows.items()},
        kinds=kinds,
        tables=[r.pieces.lookup_table for r in rows.values() if r.pieces is not None],
    )


def _of_model(function: Callable[[Tensors], Any], of: tf.keras.Model) -> Callable[[Tensors], Any]:
    """Returns a function of a Keras model's inputs as one graph for inputs of all sizes."""
    specs = {n: tf.TensorSpec(t.shape, t.dtype, n) for n, t in of.input.items()}
    return traced(function, [specs])


def resources(graphs: Graphs, model: RankingModel) -> list[tf.Module]:
    """Returns the objects that graphs refer to in addition to weights.

    These are lookup tables, frozen encoders, and whole TF-Hub models.
    """
    preprocessing = [*graphs.tables, *(t for kind in graphs.kinds for t in kind.tracked())]
    encoders = {id(f.encoder): f.encoder for f in model.encoders}.values()
    layers = [layer for e in encoders for layer in (e, *e.submodules)]
    hubs = [e.resolved_object for e in layers if isinstance(e, tensorflow_hub.KerasLayer)]
    return [*preprocessing, *hubs]
