"""Serialized ExampleListWithContext and Example messages as the raw inputs of the ranker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from mmrank.encoders import FeatureKind
from mmrank.models import present_name
from mmrank.ranking._library import parse_from_example_list
from mmrank.serving.raw import history_specs


def parse_lists(
    serialized: tf.Tensor, columns: Sequence[FeatureKind], history: str | None, size: str
) -> dict[str, tf.Tensor]:
    """Returns the inputs of `serving_default`, parsed from ExampleListWithContext messages.

    The context holds the features of sides query and user and the three lists of the history. Each
    example holds the features of sides item and pair. A feature that a message lacks is absent. If
    a feature has several values, the first one is used; features with a separator (tags, reviews,
    attributes and vectors) keep all of them, joined by it.

    Args:
      serialized: Messages [B].
      columns: Every feature that has a column.
      history: Name of the history feature, or None.
      size: Name of the input with the lists' lengths.
    """
    context: dict[str, tf.io.RaggedFeature] = {}
    example: dict[str, tf.io.RaggedFeature] = {}
    for kind in columns:
        side = context if kind.feature.side in ("query", "user") else example
        side[kind.name] = tf.io.RaggedFeature(kind.raw_dtype)
    events = {s.name: tf.io.RaggedFeature(s.dtype) for s in history_specs(history)}
    parsed = parse_from_example_list(
        serialized,
        context_feature_spec=context | events,
        example_feature_spec=example,
        size_feature_name=size,
    )
    values = {kind.name: _scalar(parsed[kind.name], kind) for kind in columns}
    return {size: parsed[size]} | _inputs(values, parsed, history)


def parse_examples(
    serialized: tf.Tensor, columns: Sequence[FeatureKind], history: str | None, size: str
) -> dict[str, tf.Tensor]:
    """Returns the inputs of `serving_default` for lists of one candidate each.

    Args:
      serialized: tf.Example messages [B], each with the features of a context and of an example
        as `parse_lists` takes them.
      columns, history, size: As for `parse_lists`.
    """
    features = {k.name: tf.io.RaggedFeature(k.raw_dtype) for k in columns}
    events = {s.name: tf.io.RaggedFeature(s.dtype) for s in history_specs(history)}
    parsed = tf.io.parse_example(serialized, features | events)
    values = {}
    for kind in columns:
        value = _scalar(parsed[kind.name], kind)
        context = kind.feature.side in ("query", "user")
        values[kind.name] = value if context else value[:, None]
    return {size: tf.ones_like(serialized, tf.int32)} | _inputs(values, parsed, history)


def _inputs(
    values: Mapping[str, tf.Tensor], parsed: Mapping[str, tf.RaggedTensor], history: str | None
) -> dict[str, tf.Tensor]:
    """Returns the raw values with their flags, and the history as dense tensors."""
    inputs = dict(values) | {present_name(n): tf.ones_like(v, tf.bool) for n, v in values.items()}
    if history is not None:
        items = parsed[f"{history}_items"].to_tensor("")
        shape = tf.shape(items, tf.int64)
        inputs[f"{history}_items"] = items
        inputs[f"{history}_types"] = parsed[f"{history}_types"].to_tensor("", shape=shape)
        inputs[f"{history}_ages"] = parsed[f"{history}_ages"].to_tensor(0.0, shape=shape)
    return inputs


def serialize_list(
    inputs: Mapping[str, np.ndarray], columns: Sequence[FeatureKind], history: str | None
) -> bytes:
    """Returns one list as the message that `parse_lists` reads, without absent values.

    Args:
      inputs: Query and user features [1], item and pair features [1, L], each with its flag, and
        the lists [1, H] of the history.
      columns: Every feature that has a column.
      history: Name of the history feature, or None.
    """
    message = input_pb2.ExampleListWithContext()
    for kind in columns:
        value, present = inputs[kind.name][0], inputs[present_name(kind.name)][0]
        if kind.feature.side in ("query", "user"):
            _put(message.context, kind.name, [value] if present else [])
            continue
        while len(message.examples) < len(value):
            message.examples.add()
        for i, example in enumerate(message.examples):
            _put(example, kind.name, [value[i]] if present[i] else [])
    for spec in history_specs(history):
        _put(message.context, spec.name, inputs[spec.name][0])
    return message.SerializeToString()


def examples_of(message: bytes) -> list[bytes]:
    """Returns the candidates of a message that `serialize_list` wrote, one tf.Example each.

    `parse_examples` reads them.
    """
    given = input_pb2.ExampleListWithContext.FromString(message)
    made = []
    for example in given.examples:
        merged = tf.train.Example()
        merged.CopyFrom(given.context)
        merged.MergeFrom(example)
        made.append(merged.SerializeToString())
    return made


def _put(example: Any, name: str, values: Iterable[Any]) -> None:
    for value in values:
        feature = example.features.feature[name]
        if isinstance(value, (str, bytes)):
            text = value.encode() if isinstance(value, str) else value
            feature.bytes_list.value.append(text)
        else:
            feature.float_list.value.append(float(value))


def _scalar(values: tf.RaggedTensor, kind: FeatureKind) -> tf.Tensor:
    """Returns one raw value for each context [B] or example [B, L].

    A missing value becomes the empty text or NaN, which counts as absent.
    """
    if kind.separator is not None:
        return _dense(tf.strings.reduce_join(values, axis=-1, separator=kind.separator))
    missing = "" if kind.raw_dtype == tf.string else np.nan
    first = values[..., :1]
    return _dense(first.to_tensor(missing, shape=[*[None] * (first.shape.rank - 1), 1])[..., 0])


def _dense(values: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
    return values.to_tensor() if isinstance(values, tf.RaggedTensor) else values
