"""A ranker that begins with the weights of another run, as far as they mean the same.

A part is taken as a whole or not at all. Tables are matched row by row through their words. What
works on the tokens of all features (history, fusion, head) is taken only if these are the same
features in the same order. What was taken and what was not is told in a table.
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
    """One line of the table.

    Attributes:
      part: A feature or a layer.
      state: taken, new, other shape or unused.
      note: How much was taken, or why it was not.
    """

    part: str
    state: str
    note: str = ""


def as_table(moved: Sequence[Moved]) -> str:
    """The lines as text, in columns."""
    wide = max(len(m.part) for m in moved)
    return "\n".join(f"{m.part:<{wide}}  {m.state:<11}  {m.note}".rstrip() for m in moved)


def warm_start(
    model: RankingModel, features: Features, source: RankingModel, fitted: Features
) -> list[Moved]:
    """What of a source was moved into a model, part by part; weights not moved stay as they are.

    Args:
      model: The new ranker, not trained yet.
      features: Its features, fitted on the new shop.
      source: The ranker to begin with.
      fitted: Its features.
    """
    moved: list[Moved] = []
    donors: dict[str, str] = {}  # features of the model by name → those of the source
    done: dict[int, str] = {}  # variables that have their values → the feature they came by
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
            moved.append(Moved(feature.name, NEW, "another vocabulary there"))
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
    told = {*donors.values(), *(line.part for line in moved)}
    gone = [name for name in fitted.columns if name not in told]
    return moved + [Moved(name, UNUSED, "a feature of the source") for name in gone]


def _donor(kind: FeatureKind, others: Mapping[str, FeatureKind]) -> tuple[str | None, str]:
    """The source's feature that a feature is to be taken from, or None, with a remark."""
    sharing = kind.core.sharing()
    alike = [n for n, o in others.items() if sharing is not None and o.core.sharing() == sharing]
    name = kind.name if kind.name in others else next(iter(alike), None)
    if name is None:
        return None, "the source has no such feature"
    other = others[name]
    if type(kind.core) is not type(other.core) or type(kind) is not type(other):
        return None, f"another kind or frozen in one of the two: {other.feature.kind} there"
    own_state, other_state = kind.state(), other.state()
    if isinstance(kind, Frozen) and own_state["frozen"] != other_state["frozen"]:
        return None, "another frozen encoder there"
    changed = sorted(
        option
        for option, value in vars(kind.options).items()
        if vars(other.options).get(option) != value
    )
    remarks = [f"encoder of {name}"] if name != kind.name else []
    remarks += [f"other {', '.join(changed)}"] if changed else []
    return name, "; ".join(remarks)


def _move(
    part: str,
    layer: tf.keras.layers.Layer,
    other: tf.keras.layers.Layer,
    rows: Rows,
    other_rows: Rows,
    done: dict[int, str],
) -> Moved:
    """Moves a layer's weights, tables by their rows' names; nothing at all if something differs."""
    own, given = weights_by_path(layer), weights_by_path(other)
    if type(layer) is not type(other) or own.keys() != given.keys():
        return Moved(part, OTHER_SHAPE, "another structure there")
    names = {id(variable): words for variable, words in rows}
    other_names = {id(variable): words for variable, words in other_rows}
    for path, variable in own.items():
        # Of a table the rows may differ in number, not in width.
        skip = 1 if id(variable) in names else 0
        if variable.shape[skip:] != given[path].shape[skip:]:
            return Moved(
                part,
                OTHER_SHAPE,
                f"{variable.name.split(':')[0]} is {list(variable.shape)}, "
                f"there {list(given[path].shape)}",
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
    """Gives the rows of known words their values; tells how many these are."""
    places = {word: i for i, word in enumerate(given_words)}
    pairs = [(i, places[word]) for i, word in enumerate(words) if word in places]
    values = table.numpy()
    if pairs:
        to, of = np.transpose(pairs)
        values[to] = given[of]
    table.assign(values)
    return len(pairs)


def weights_by_path(layer: tf.keras.layers.Layer) -> dict[str, tf.Variable]:
    """A layer's weights by the attributes that lead to them, which every process names alike.

    Raises:
      RuntimeError: A weight is held by no attribute that TensorFlow tracks.
    """
    wanted = {id(weight) for weight in layer.weights}
    found: dict[str, tf.Variable] = {}
    seen: dict[int, Any] = {}  # holds the objects too, so that no identity is given twice
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
            # Layers are numbered twice; among all of them, also those without weights count.
            if not name.startswith("layer-"):
                waiting.append((f"{path}/{name}", child))
    if len(found) < len(wanted):
        raise RuntimeError(f"{layer.name}: {len(wanted) - len(found)} weights are not tracked")
    return found


def _layers(model: RankingModel) -> Iterator[tf.keras.layers.Layer]:
    towers = (model.item_tower, model.context_tower, model.scorer)
    return itertools.chain.from_iterable(tower.layers for tower in towers)


def _tokens(model: RankingModel) -> dict[str, tuple[str, ...]]:
    """The names of the tokens by the layer that makes them."""
    return {x.name: x.names for x in _layers(model) if isinstance(x, ModalityTokens)}


def _scorer(
    model: RankingModel,
    features: Features,
    source: RankingModel,
    fitted: Features,
    done: dict[int, str],
) -> list[Moved]:
    """Moves what works on all tokens together."""
    apart = (PresentOnly, ModalityTokens)
    own, given = (
        {x.name: x for x in _layers(m) if x.weights and not isinstance(x, apart)}
        for m in (model, source)
    )
    if _tokens(model) != _tokens(source):
        there = ", ".join(itertools.chain.from_iterable(_tokens(source).values()))
        return [Moved(name, NEW, f"it reads other features there: {there}") for name in own]
    moved = []
    for name, layer in own.items():
        if name not in given:
            moved.append(Moved(name, NEW, "the source has no such layer"))
            continue
        if layer is model.cross and _pieces(features) != _pieces(fitted):
            moved.append(Moved(name, NEW, "it reads other texts or word pieces there"))
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
    """Moves projection, norm and learned absence of each feature whose encoder was taken.

    Gives the names of those whose shapes fit.
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
            # Tokens of the history are no features: they go with the layers that they come from.
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
