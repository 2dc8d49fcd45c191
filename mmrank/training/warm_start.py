"""Initialises a ranker with the weights of another run, as far as they have the same meaning.

A part is copied completely or not at all. Rows of tables are matched by the words that they stand
for. Layers that work on the tokens of all features (history, fusion, head) are copied only if both
runs have the same features in the same order. A table lists what was copied and what was not.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.encoders.base import FeatureKind
from mmrank.encoders.frozen import Frozen
from mmrank.encoders.tokens import ModalityTokens, PresentOnly
from mmrank.encoders.word_rows import Rows, word_rows
from mmrank.features import Features
from mmrank.matching.pieces import PiecePlan
from mmrank.models import RankingModel

TAKEN, NEW, OTHER_SHAPE, UNUSED = "taken", "new", "other shape", "unused"


@dataclasses.dataclass(frozen=True)
class Moved:
    """One line of the table of copied parts.

    Attributes:
      part: A feature or a layer.
      state: taken, new, other shape or unused.
      note: How much was copied, or why nothing was.
    """

    part: str
    state: str
    note: str = ""


def as_table(moved: Sequence[Moved]) -> str:
    """Returns the lines as text, in columns."""
    wide = max(len(m.part) for m in moved)
    return "\n".join(f"{m.part:<{wide}}  {m.state:<11}  {m.note}".rstrip() for m in moved)


def warm_start(
    model: RankingModel, features: Features, source: RankingModel, fitted: Features
) -> list[Moved]:
    """Copies weights from a source into a model and returns a report on each part.

    Weights that are not copied keep their values.

    Args:
      model: The new ranker, not trained yet.
      features: The features of the new ranker, fitted on its dataset.
      source: The ranker to copy from.
      fitted: The features of the source.
    """
    moved: list[Moved] = []
    donors: dict[str, str] = {}  # names of the model's features → names of the source's features
    done: dict[int, str] = {}  # ids of the variables already copied → the part they belong to
    layers = {f.name: f.encoder for f in source.encoders}
    for feature in model.encoders:
        kind = features.columns[feature.name]
        donor, why = _donor(kind, fitted.columns)
        if donor is None:
            moved.append(Moved(feature.name, NEW, why))
            continue
        own = word_rows(feature.encoder, kind.core)
        other = word_rows(layers[donor], fitted.columns[donor].core)
        vocabularies = [k.state().get("vocabulary") for k in (kind, fitted.columns[donor])]
        if not own and vocabularies[0] != vocabularies[1]:
            moved.append(Moved(feature.name, NEW, "the source has another vocabulary"))
            continue
        line = _move(feature.name, feature.encoder, layers[donor], own, other, done)
        if line.state == TAKEN:
            donors[feature.name] = donor
            line = dataclasses.replace(line, note="; ".join(filter(None, [line.note, why])))
        moved.append(line)
    projected = _move_tokens(model, source, donors, same=_tokens(model) == _tokens(source))
    for i, line in enumerate(moved):
        if line.part in donors and line.part not in projected:
            note = f"{line.note}; its projection is new"
            moved[i] = dataclasses.replace(line, note=note)
    moved += _scorer(model, features, source, fitted, done)
    used = {*donors.values(), *(line.part for line in moved)}
    unused = [name for name in fitted.columns if name not in used]
    return moved + [Moved(name, UNUSED, "a feature of the source") for name in unused]


def _donor(kind: FeatureKind, others: Mapping[str, FeatureKind]) -> tuple[str | None, str]:
    """Returns the source's feature to copy a feature from, or None, with a remark.

    It is the feature of the same name, else the first with the same shared encoder.
    """
    sharing = kind.core.sharing()
    alike = [n for n, o in others.items() if sharing is not None and o.core.sharing() == sharing]
    name = kind.name if kind.name in others else next(iter(alike), None)
    if name is None:
        return None, "the source has no such feature"
    other = others[name]
    if type(kind.core) is not type(other.core) or type(kind) is not type(other):
        return None, f"another kind, or frozen in only one: {other.feature.kind} in the source"
    own_state, other_state = kind.state(), other.state()
    if isinstance(kind, Frozen) and own_state["frozen"] != other_state["frozen"]:
        return None, "the source has another frozen encoder"
    changed = sorted(
        option
        for option, value in vars(kind.options).items()
        if vars(other.options).get(option) != value
    )
    remarks = [f"encoder of {name}"] if name != kind.name else []
    remarks += [f"different {', '.join(changed)}"] if changed else []
    return name, "; ".join(remarks)


def _move(
    part: str,
    layer: tf.keras.layers.Layer,
    other: tf.keras.layers.Layer,
    rows: Rows,
    other_rows: Rows,
    done: dict[int, str],
) -> Moved:
    """Copies a layer's weights, with tables matched by the names of their rows.

    Nothing is copied if the structure or a shape differs.
    """
    own, given = weights_by_path(layer), weights_by_path(other)
    if type(layer) is not type(other) or own.keys() != given.keys():
        return Moved(part, OTHER_SHAPE, "the source has another structure")
    names = {id(variable): words for variable, words in rows}
    other_names = {id(variable): words for variable, words in other_rows}
    for path, variable in own.items():
        # Tables may differ in their number of rows, but not in their width.
        skip = 1 if id(variable) in names else 0
        if variable.shape[skip:] != given[path].shape[skip:]:
            return Moved(
                part,
                OTHER_SHAPE,
                f"{variable.name.split(':')[0]} is {list(variable.shape)}, "
                f"in the source {list(given[path].shape)}",
            )
    left = {path: v for path, v in own.items() if id(v) not in done}
    if own and not left:
        return Moved(part, TAKEN, f"shares the encoder of {done[id(next(iter(own.values())))]}")
    notes = [f"{len(left)} tensors"]
    for path, variable in left.items():
        done[id(variable)] = part
        if id(variable) not in names:
            variable.assign(given[path].numpy())
            continue
        words = names[id(variable)]
        found = _move_rows(variable, words, given[path].numpy(), other_names[id(given[path])])
        if found < len(words):
            notes.append(f"{found} of {len(words)} rows of {variable.name.split(':')[0]}")
    return Moved(part, TAKEN, ", ".join(notes))


def _move_rows(
    table: tf.Variable, words: Sequence[str], given: np.ndarray, given_words: Sequence[str]
) -> int:
    """Copies the rows of words that both tables have; returns the number of these rows."""
    given_rows = {word: i for i, word in enumerate(given_words)}
    pairs = [(i, given_rows[word]) for i, word in enumerate(words) if word in given_rows]
    values = table.numpy()
    if pairs:
        to, of = np.transpose(pairs)
        values[to] = given[of]
    table.assign(values)
    return len(pairs)


def weights_by_path(layer: tf.keras.layers.Layer) -> dict[str, tf.Variable]:
    """Returns a layer's weights by their attribute paths, which are the same in every process.

    Raises:
      RuntimeError: A weight is not in any attribute that TensorFlow tracks.
    """
    wanted = {id(weight) for weight in layer.weights}
    found: dict[str, tf.Variable] = {}
    seen: dict[int, Any] = {}  # holds the objects too, so that no id is reused
    waiting = [("", layer)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if id(node) in wanted:
            found[path] = node
            continue
        for name, child in tf.train.TrackableView.children(node).items():
            # TensorFlow numbers layers in two ways. `layer-N` also counts layers without weights,
            # so it may differ between models.
            if not name.startswith("layer-"):
                waiting.append((f"{path}/{name}", child))
    if len(found) < len(wanted):
        raise RuntimeError(f"{layer.name}: {len(wanted) - len(found)} weights are not tracked")
    return found


def _layers(model: RankingModel) -> Iterator[tf.keras.layers.Layer]:
    towers = (model.item_tower, model.context_tower, model.scorer)
    return itertools.chain.from_iterable(tower.layers for tower in towers)


def _tokens(model: RankingModel) -> dict[str, tuple[str, ...]]:
    """Returns the names of the tokens by the layer that makes them."""
    return {x.name: x.names for x in _layers(model) if isinstance(x, ModalityTokens)}


def _scorer(
    model: RankingModel,
    features: Features,
    source: RankingModel,
    fitted: Features,
    done: dict[int, str],
) -> list[Moved]:
    """Copies the layers that work on all tokens together and returns a report on each."""
    apart = (PresentOnly, ModalityTokens)
    own, given = (
        {x.name: x for x in _layers(m) if x.weights and not isinstance(x, apart)}
        for m in (model, source)
    )
    if _tokens(model) != _tokens(source):
        there = ", ".join(itertools.chain.from_iterable(_tokens(source).values()))
        return [Moved(name, NEW, f"in the source it reads other features: {there}") for name in own]
    moved = []
    for name, layer in own.items():
        if name not in given:
            moved.append(Moved(name, NEW, "the source has no such layer"))
            continue
        if layer is model.cross and _pieces(features) != _pieces(fitted):
            moved.append(Moved(name, NEW, "in the source it reads other texts or word pieces"))
            continue
        rows = word_rows(layer, features.history)
        moved.append(
            _move(name, layer, given[name], rows, word_rows(given[name], fitted.history), done)
        )
    return moved


def _pieces(features: Features) -> PiecePlan | None:
    return None if features.matching is None else features.matching.pieces


def _move_tokens(
    model: RankingModel, source: RankingModel, donors: Mapping[str, str], same: bool
) -> set[str]:
    """Copies projection, norm and embedding of absence of each feature whose encoder was copied.

    Returns:
      The names of the tokens whose shapes fit, which were copied.
    """
    others = {x.name: x for x in _layers(source) if isinstance(x, ModalityTokens)}
    features = {f.name for f in model.encoders}
    projected = set()
    for layer in _layers(model):
        other = others.get(layer.name)
        if not isinstance(layer, ModalityTokens) or other is None or layer.width != other.width:
            continue
        absent = layer.absent.numpy()
        for i, name in enumerate(layer.names):
            # Tokens of the history are not features. They are copied only if both rankers have the
            # same tokens.
            donor = donors.get(name) if name in features else name if same else None
            if donor not in other.names:
                continue
            j = other.names.index(donor)
            if layer.projections[i].kernel.shape != other.projections[j].kernel.shape:
                continue
            layer.projections[i].set_weights(other.projections[j].get_weights())
            norm, given = layer.norms[i], other.norms[j]
            if norm is not None and given is not None:
                norm.set_weights(given.get_weights())
            absent[i] = other.absent.numpy()[j]
            projected.add(name)
        layer.absent.assign(absent)
    return projected
