"""Parts of messages counted before they are parsed."""

from __future__ import annotations

import time

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, regression_pb2

from mmrank.server.guard.wire import TooManyParts, check_parts


def test_parts_are_those_of_the_parser() -> None:
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


def test_other_fields_are_passed_over() -> None:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    request.inputs["y"].CopyFrom(tf.make_tensor_proto([b"a"]))
    request.model_spec.version.value = 2**60
    request.output_filter.append("scores")
    data = request.SerializeToString()
    assert (check_parts(data, (2,), 9), check_parts(data, (3,), 9)) == (2, 1)


@pytest.mark.parametrize("data", [b"\xff" * 99, b"\x0a", b"\x0a\xff\xff\x7f", b"\x0b\x0c", b""])
def test_what_is_no_message_ends(data: bytes) -> None:
    assert check_parts(data, (1, 1), 9) == 0 or data[:1] == b"\x0a"


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x12\x00", b"\x08\x00"])
def test_millions_of_parts_are_not_looked_through(part: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(TooManyParts):
        check_parts(part * 8_000_000, (1, 1), 1000)
    assert time.monotonic() - started < 1
