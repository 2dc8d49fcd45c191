"""Raw values at the door of the graph: what a client sends, and how it is cleaned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from mmrank.encoders import FeatureKind
from mmrank.models import present_name
from mmrank.schema import SchemaError

HISTORY_DTYPES = {"items": tf.string, "types": tf.string, "ages": tf.float32}


def cleaned(kind: FeatureKind, raw: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Raw values and presence of raw values and their flags, of one shape.

    A text is stripped; an empty one, and a number that is not finite, is absent. Under a False
    flag stands the empty text, or zero.
    """
    if raw.dtype == tf.string:
        raw = kind.clean(raw)
        present = present & (raw != "")
        return tf.where(present, raw, ""), present
    present = present & tf.math.is_finite(raw)
    return tf.where(present, raw, tf.zeros([], raw.dtype)), present


def column_specs(kinds: Iterable[FeatureKind], shape: list[None]) -> list[tf.TensorSpec]:
    """The inputs of some features, NAME and NAME_present, each of this shape."""
    specs = []
    for kind in kinds:
        specs.append(tf.TensorSpec(shape, kind.raw_dtype, kind.name))
        specs.append(tf.TensorSpec(shape, tf.bool, present_name(kind.name)))
    return specs


def history_specs(history: str | None) -> list[tf.TensorSpec]:
    """The inputs [B, H] of the history; none for a ranker without."""
    if history is None:
        return []
    return [tf.TensorSpec([None, None], d, f"{history}_{r}") for r, d in HISTORY_DTYPES.items()]


def stored_history_specs(history: str | None, modalities: int, width: int) -> list[tf.TensorSpec]:
    """The inputs [B, H] of a history whose items are given by their tokens."""
    if history is None:
        return []
    return [
        tf.TensorSpec([None, None, modalities, width], tf.float32, f"{history}_tokens"),
        tf.TensorSpec([None, None], tf.bool, f"{history}_known"),
        *(s for s in history_specs(history) if s.name != f"{history}_items"),
    ]


def check_names(specs: Sequence[tf.TensorSpec]) -> None:
    """Checks that every input has a name of its own.

    Raises:
      SchemaError: A feature's name is taken by another input.
    """
    names = [s.name for s in specs]
    for name in names:
        if names.count(name) > 1:
            raise SchemaError(
                f"two inputs of the exported model would be called {name!r}; "
                "rename the feature in the schema and train anew"
            )


def id_lookup(
    keys: Sequence[str], values: Iterable[int], default: int
) -> tf.lookup.StaticHashTable:
    """A table from texts to int32 numbers that a SavedModel can hold."""
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(keys), tf.string), tf.constant(list(values), tf.int32)
        ),
        default_value=default,
    )
