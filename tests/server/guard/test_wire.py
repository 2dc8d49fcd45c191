"""Parts of messages counted before they are parsed."""

from __future__ import annotations

import time

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, regression_pb2

from mmrank.server.guard.wire import (
    EXAMPLE_VALUES,
    INPUT_VALUES,
    LIST_VALUES,
    TENSOR_VALUES,
    TooManyParts,
    check_parts,
    check_values,
)


def test_counts_the_same_parts_as_the_parser() -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "m"
    for number in range(7):
        example = request.input.example_list.examples.add()
        for name in "abc":
            example.features.feature[name].int64_list.value.append(number << 40)
    data = request.SerializeToString()
    assert check_parts(data, (2, 1, 1), 7) == 7
    assert check_parts(data, (2, 2, 1), 7) == 0
    with pytest.raises(TooManyParts, match="more than 6 parts"):
        check_parts(data, (2, 1, 1), 6)
    one = tf.train.Example.FromString(example.SerializeToString()).SerializeToString()
    assert check_parts(one, (1, 1), 3) == 3


def test_other_fields_are_skipped() -> None:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    request.inputs["y"].CopyFrom(tf.make_tensor_proto([b"a"]))
    request.model_spec.version.value = 2**60
    request.output_filter.append("scores")
    data = request.SerializeToString()
    assert (check_parts(data, (2,), 9), check_parts(data, (3,), 9)) == (2, 1)


@pytest.mark.parametrize("data", [b"\xff" * 99, b"\x0a", b"\x0a\xff\xff\x7f", b"\x0b\x0c", b""])
def test_counting_ends_for_bytes_that_are_not_a_message(data: bytes) -> None:
    assert check_parts(data, (1, 1), 9) == 0 or data[:1] == b"\x0a"


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x12\x00", b"\x08\x00"])
def test_counting_stops_at_the_limit(part: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(TooManyParts):
        check_parts(part * 8_000_000, (1, 1), 1000)
    assert time.monotonic() - started < 1


def test_values_of_large_messages_are_counted() -> None:
    texts = predict_pb2.PredictRequest()
    texts.inputs["x"].CopyFrom(tf.make_tensor_proto([b""] * 1_100_000))
    one = tf.train.Example()
    one.features.feature["x"].bytes_list.value.extend([b""] * 1_100_000)
    regress = regression_pb2.RegressionRequest()
    regress.input.example_list.examples.append(one)
    context = regression_pb2.RegressionRequest()
    context.input.example_list_with_context.context.CopyFrom(one)
    for message, path in (
        (texts, TENSOR_VALUES),
        (one, EXAMPLE_VALUES),
        (regress, INPUT_VALUES),
        (context, INPUT_VALUES),
        (regress.input.example_list, LIST_VALUES),
    ):
        data = message.SerializeToString()
        with pytest.raises(TooManyParts, match="parts in one message"):
            check_values(data, path)
    long = predict_pb2.PredictRequest()
    long.inputs["x"].CopyFrom(tf.make_tensor_proto([b"x" * 60] * 100_000))
    check_values(long.SerializeToString(), TENSOR_VALUES)
    check_values(data[: 1 << 20], TENSOR_VALUES)  # a small message is accepted whatever it contains
