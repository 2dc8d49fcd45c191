"""What the rows of an encoder's tables stand for: word pieces, ids, event types, positions.

Row 5 of one vocabulary is not row 5 of another. Who moves a table to another vocabulary asks here.
A layer with a table of its own kind is one entry in `ROWS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmrank.encoders.attributes import AttributesEncoder
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.encoders.category import CategoryEncoder
from mmrank.encoders.tags import TagsEncoder
from mmrank.encoders.text import BertEncoder

Rows = list[tuple[tf.Variable, tuple[str, ...]]]


def word_rows(layer: tf.keras.layers.Layer, owner: Any) -> Rows:
    """Every table [rows, ...] in a built layer whose rows have names, with these names.

    Args:
      layer: The encoder of a feature, or the layer over its history.
      owner: The fitted kind or history that the layer belongs to.
    """
    parts = (layer, *layer.submodules)
    return [rows for part in parts if type(part) in ROWS for rows in ROWS[type(part)](part, owner)]


def _bert(layer: BertEncoder, text: Any) -> Rows:
    (tokens,) = (p for p in layer.submodules if p.name == "token_embedding")
    (positions,) = (p for p in layer.submodules if p.name == "position_embedding")
    places = tuple(f"position {i}" for i in range(text.options.max_tokens))
    return [(tokens.embeddings, text.vocabulary), (positions.position_embeddings, places)]


def _category(layer: CategoryEncoder, category: Any) -> Rows:
    return [(layer.table.embeddings, _known(category))]


def _tags(layer: TagsEncoder, tags: Any) -> Rows:
    return [(layer.table.embeddings, ("padding", *_known(tags)))]


def _attributes(layer: AttributesEncoder, attributes: Any) -> Rows:
    numbers = ("none", *(f"number {key}" for key in attributes.keys or ("",)))
    return [
        (layer.table.embeddings, ("padding", *_known(attributes))),
        (layer.slopes.embeddings, numbers),
    ]


def _known(kind: Any) -> tuple[str, ...]:
    """Rows as `string_lookup` numbers them: the buckets, then the words or their stand-in."""
    buckets = kind.options.oov_buckets
    # Which bucket an unknown word falls into depends on how many there are.
    return (
        *(f"bucket {i} of {buckets}" for i in range(buckets)),
        *(f"word {w}" for w in kind.vocabulary or ("",)),
    )


def _behavior(layer: BehaviorAttention, history: Any) -> Rows:
    types = ("any other", *(f"type {t}" for t in history.types))
    return [(layer.type_table.embeddings, types), (layer.type_weight.embeddings, types)]


ROWS: dict[type, Callable[[Any, Any], Rows]] = {
    BertEncoder: _bert,
    CategoryEncoder: _category,
    TagsEncoder: _tags,
    AttributesEncoder: _attributes,
    BehaviorAttention: _behavior,
}
