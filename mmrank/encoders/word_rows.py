"""What each row of an encoder's tables means: a word piece, an id, an event type, a position.

Row 5 of one vocabulary is not row 5 of another. Code that moves a table to another vocabulary uses
this module. A layer with such a table is a `NamedRows`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Rows = list[tuple[tf.Variable, tuple[str, ...]]]


class NamedRows:
    """A base of layers that have tables whose rows have names."""

    def named_rows(self, owner: Any) -> Rows:
        """Returns the layer's tables [rows, ...], each with the names of its rows.

        Args:
          owner: The fitted kind or history that the layer was made by.
        """
        raise NotImplementedError


def word_rows(layer: tf.keras.layers.Layer, owner: Any) -> Rows:
    """Returns every table [rows, ...] in a built layer whose rows have names, with these names.

    Args:
      layer: The encoder of a feature, or the layer over its history.
      owner: The fitted kind or history that the layer belongs to.
    """
    parts = (layer, *layer.submodules)
    return [
        rows for part in parts if isinstance(part, NamedRows) for rows in part.named_rows(owner)
    ]


def known_words(kind: Any) -> tuple[str, ...]:
    """Returns row names in the order of `string_lookup`: buckets, then words or their stand-in.

    Args:
      kind: A fitted kind with a `vocabulary` and the option `oov_buckets`.
    """
    buckets = kind.options.oov_buckets
    # The bucket of an unknown word depends on the number of buckets.
    return (
        *(f"bucket {i} of {buckets}" for i in range(buckets)),
        *(f"word {w}" for w in kind.vocabulary or ("",)),
    )
