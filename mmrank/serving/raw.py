"""Raw values as inputs of the graph: what a client sends, and how it is cleaned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from mmrank.encoders import FeatureKind
from mmrank.models import present_name
from mmrank.schema import SchemaError

HISTORY_DTYPES = {"items": tf.string, "types": tf.string, "ages": tf.float32}


def cleaned(kind: FeatureKind, raw: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns cleaned raw values and their presence, both of the inputs' shape.

    Texts are stripped. An empty text and a number that is not finite count as absent. An absent
    value becomes the empty text, or zero.
    """
    if raw.dtype == tf.string:
        raw = kind.clean(raw)
        present = present & (raw != "")
        return tf.where(present, raw, ""), present
    present = present & tf.math.is_finite(raw)
    return tf.where(present, raw, tf.zeros([], raw.dtype)), present


def column_specs(kinds: Iterable[FeatureKind], shape: list[None]) -> list[tf.TensorSpec]:
    """Returns the inputs NAME and NAME_present of some features, each of this shape."""
    specs = []
    for kind in kinds:
        specs.append(tf.TensorSpec(shape, kind.raw_dtype, kind.name))
        specs.append(tf.TensorSpec(shape, tf.bool, present_name(kind.name)))
    return specs


def history_specs(history: str | None) -> list[tf.TensorSpec]:
    """Returns the inputs [B, H] of the history; an empty list for a ranker without history."""
    if history is None:
        return []
    return [tf.TensorSpec([None, None], d, f"{history}_{r}") for r, d in HISTORY_DTYPES.items()]


def stored_history_specs(history: str | None, modalities: int, width: int) -> list[tf.TensorSpec]:
    """Returns the inputs [B, H, ...] of a history whose items are given by their tokens."""
    if history is None:
        return []
    return [
        tf.TensorSpec([None, None, modalities, width], tf.float32, f"{history}_tokens"),
        tf.TensorSpec([None, None], tf.bool, f"{history}_known"),
        *(s for s in history_specs(history) if s.name != f"{history}_items"),
    ]


def check_names(specs: Sequence[tf.TensorSpec]) -> None:
    """Checks that the names of all inputs are distinct.

    Raises:
      SchemaError: A feature has the name of another input.
    """
    names = [s.name for s in specs]
    for name in names:
        if names.count(name) > 1:
            raise SchemaError(
                f"two inputs of the exported model would be named {name!r}; rename the feature in "
                "the schema and train again"
            )


def id_lookup(
    keys: Sequence[str], values: Iterable[int], default: int
) -> tf.lookup.StaticHashTable:
    """Returns a table from texts to int32 numbers that a SavedModel can hold."""
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(keys), tf.string), tf.constant(list(values), tf.int32)
        ),
        default_value=default,
    )
