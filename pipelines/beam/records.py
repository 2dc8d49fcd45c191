"""Lists as ExampleListWithContext records; docs/beam.md describes the format."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

LIST_ID, LIST_USER, LIST_TIME = "list/id", "list/user", "list/time"
ITEM_ID = "item/id"
LABEL = "label/"
MICROSECONDS = 1_000_000


def put(example: tf.train.Example, name: str, values: Sequence[Any]) -> None:
    """Adds a feature of texts, bytes, floats or integers, all of one type, to an example."""
    feature = example.features.feature[name]
    if isinstance(values[0], (str, bytes)):
        whole = [v.encode("utf-8") if isinstance(v, str) else v for v in values]
        feature.bytes_list.value.extend(whole)
    elif isinstance(values[0], (int, np.integer)):
        feature.int64_list.value.extend(values)
    else:
        feature.float_list.value.extend(values)


def put_raw(
    example: tf.train.Example, raw: Mapping[str, tuple[np.ndarray, np.ndarray]], row: int
) -> None:
    """Adds one row's raw values to an example; absent values are omitted."""
    for name, (values, present) in raw.items():
        if present[row]:
            put(example, name, [values[row]])


def list_record(context: tf.train.Example, examples: Iterable[tf.train.Example]) -> bytes:
    """The serialized message of a list; the same list always gives the same bytes."""
    message = ExampleListWithContext(context=context, examples=examples)
    return message.SerializeToString(deterministic=True)


def write_records(records: Sequence[bytes], file: pathlib.Path) -> int:
    """Writes records to a TFRecord file and returns their number."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    return len(records)
