"""Large requests and replies are read and written in short steps of Python."""

from __future__ import annotations

import base64
import gc
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from mmrank.server.errors import ServingError
from mmrank.server.grpc_service import _predicted
from mmrank.server.json_tensors import decoded, parse_object, read_tensors, write_tensors
from mmrank.server.machine import freeze_objects, release_memory, without_garbage_collection
from mmrank.server.metadata import model_spec
from mmrank.server.proto_tensors import from_proto, to_proto
from mmrank.server.signature import Signature, TensorInfo

FIELDS = {
    np.float32: "float_val",
    np.float64: "double_val",
    np.int32: "int_val",
    np.int64: "int64_val",
    np.bool_: "bool_val",
}


def arrays() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    shapes = [(3,), (2, 3), (0, 3), (1, 90_000), (2, 70_000), (50_000, 3), (1, 1, 70_000)]
    return [draw.random(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("array", arrays(), ids=lambda a: str(a.shape))
def test_replies_written_in_parts_are_complete(array: np.ndarray) -> None:
    count = np.arange(array.size).reshape(array.shape)
    single = orjson.loads(write_tensors("inputs", {"y": count}))
    assert single == {"outputs": count.tolist()}
    both = orjson.loads(write_tensors("inputs", {"y": array, "z": count}))["outputs"]
    assert both["z"] == count.tolist()
    np.testing.assert_allclose(np.reshape(both["y"], array.shape), array, rtol=1e-6)
    assert orjson.loads(write_tensors("instances", {"z": count})) == {"predictions": count.tolist()}
    rows = orjson.loads(write_tensors("instances", {"y": array, "z": count}))["predictions"]
    assert [row["z"] for row in rows] == count.tolist()


@pytest.mark.parametrize("array", arrays(), ids=lambda a: str(a.shape))
@pytest.mark.parametrize("dtype", FIELDS)
def test_messages_read_in_parts_are_complete(array: np.ndarray, dtype: type) -> None:
    given = (9 * array).astype(dtype)
    np.testing.assert_array_equal(from_proto("x", to_proto(given)), given)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(dtype).as_datatype_enum)
    proto.tensor_shape.CopyFrom(tf.TensorShape(given.shape).as_proto())
    getattr(proto, FIELDS[dtype]).extend(given.ravel().tolist())
    read = from_proto("x", proto)
    assert read.dtype == given.dtype
    np.testing.assert_array_equal(read, given)


@pytest.mark.parametrize(
    "array", [*arrays(), np.array(2.5, np.float32)], ids=lambda a: str(a.shape)
)
def test_replies_are_what_protobuf_serializes(array: np.ndarray) -> None:
    texts = np.array([[b"a"], [b""]], object)
    outputs = {"y": array, "texts": texts, "flags": array > 0.5, "counts": array.astype(int)}
    spec = model_spec("ranker", 3, "lookup_items")
    reply = predict_pb2.PredictResponse.FromString(_predicted(spec, outputs))
    want = predict_pb2.PredictResponse(model_spec=spec)
    for name, value in outputs.items():
        if value.dtype == np.float32:
            tensor = want.outputs[name]
            tensor.dtype = tf.float32.as_datatype_enum
            tensor.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
            tensor.float_val.extend(value.ravel().tolist())
        else:
            want.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    assert reply == want


def test_numbers_that_are_not_finite_among_many() -> None:
    values = [n / 8 for n in range(20_000)]
    words = ",".join(map(str, values))
    body = f'{{"inputs":{{"x":[{words},NaN,-Infinity,12345678901234567890,"e\\u0301",[{{}}]]}}}}'
    read = parse_object(body.encode(), endless=True)["inputs"]["x"]
    assert read[:20_000] == values
    assert str(read[20_000]) == "nan"
    assert read[20_001:] == [-np.inf, 12345678901234567890.0, "e\u0301", [{}]]
    for wrong in (body[:-1], body.replace("NaN", "NaN,"), body.replace("NaN", "Nan")):
        with pytest.raises(ServingError, match="JSON Parse error"):
            parse_object(wrong.encode(), endless=True)


def test_the_last_text_fills_a_long_shape() -> None:
    proto = tensor_pb2.TensorProto(dtype=tf.string.as_datatype_enum, string_val=[b"a", b"b"])
    proto.tensor_shape.dim.add(size=40_000)
    assert from_proto("x", proto).tolist() == [b"a"] + [b"b"] * 39_999
    proto.string_val.extend([b"c"] * 40_000)
    with pytest.raises(ServingError, match="40002 values for the shape"):
        from_proto("x", proto)


def test_base64_in_parts() -> None:
    data = np.random.default_rng(0).bytes(3_000_001)
    text = base64.b64encode(data).decode()
    assert decoded("x", {"b64": text}) == data
    assert decoded("x", {"b64": ""}) == b""
    for wrong in (text[:-2], text[: 1 << 20] + "YQ==" + text[1 << 20 :], text[:9] + "%" + text[9:]):
        with pytest.raises(ServingError, match="base64"):
            decoded("x", {"b64": wrong})


def test_of_a_hundred_thousand_names_only_some_are_compared() -> None:
    info = TensorInfo("t", tf.string, (None,))
    signature = Signature("rank", "", {"items": info, "query": info}, {})
    names = {f"{'x' * 3}{n:06d}": 1 for n in range(100_000)}
    for form, given in (("inputs", names), ("instances", [names])):
        with pytest.raises(ServingError) as actual:
            read_tensors({form: given}, signature)
        assert "missing: items,query; unknown: xxx000000,xxx000001" in actual.value.message
        assert "xxx000020" not in actual.value.message


def test_reading_json_does_not_collect_cycles() -> None:
    looked: list[int] = []

    def watch(phase: str, actual: dict[str, int]) -> None:
        looked.append(actual["generation"])

    body = b'{"inputs":[' + b",".join([b"[]"] * 200_000) + b"]}"
    gc.callbacks.append(watch)
    try:
        with without_garbage_collection():
            assert not gc.isenabled()
        assert gc.isenabled()
        gc.collect()
        looked.clear()
        read = parse_object(body)
        assert len(looked) <= 2  # once parsing is finished
    finally:
        gc.callbacks.remove(watch)
    assert len(read["inputs"]) == 200_000


def test_settled_objects_are_exempt_from_garbage_collection() -> None:
    kept = [[n] for n in range(100_000)]
    try:
        freeze_objects()
        assert gc.get_freeze_count() > len(kept)
        release_memory()  # of a version: what remains of it is new
        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


@pytest.fixture
def longest() -> Iterator[Callable[[], float]]:
    """A function that returns the longest time for which this thread did not run."""
    gaps, end = [0.0], threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not end.wait(0.001):
            now = time.monotonic()
            gaps[0], last = max(gaps[0], now - last), now

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    yield lambda: gaps[0]
    end.set()
    thread.join()


def test_a_large_tensor_does_not_block_other_requests(longest: Callable[[], float]) -> None:
    # In one step, a million numbers take 80 ms on an idle machine; two million differ clearly from
    # short steps even on a busy machine.
    proto = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum)
    proto.float_val.extend(np.ones(1 << 21, np.float32).tolist())
    proto.tensor_shape.dim.add(size=1 << 21)
    before = longest()
    started = time.monotonic()
    from_proto("x", proto)
    assert longest() <= max(before, (time.monotonic() - started) / 2)
