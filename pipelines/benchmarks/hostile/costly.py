"""Small requests that would be costly: memory, names, parts, and compressed bodies."""

from __future__ import annotations

import dataclasses
import gzip
import random
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, regression_pb2

from mmrank.server.guard.options import Limits
from pipelines.benchmarks.hostile import grpc_calls, rank, rest
from pipelines.benchmarks.hostile.grpc_calls import SERVICE, GrpcCall
from pipelines.benchmarks.hostile.rest import RestRequest
from pipelines.benchmarks.hostile.target import Target

MOST = Limits().request_candidates  # the benchmark's server has the default limits
LOOKUP = "lookup_items"


def crowded_json(rng: random.Random, target: Target) -> RestRequest:
    """JSON with three bytes per value, each of which takes a hundred bytes in memory."""
    value = rng.choice([b"[]", b"{}", b"[[]]", b'{"a":{}}'])
    count = (target.bytes - 1000) // (len(value) + 1)
    body = b'{"inputs":[' + b",".join([value] * count) + b"]}"
    made = rest.predict("costly: crowded JSON", target, body)
    return made if rng.random() < 0.5 else dataclasses.replace(made, path="/rank")


def packed(rng: random.Random, target: Target) -> RestRequest:
    """A gzip body that is a bomb, damaged or of too many members, or another compression."""
    body = gzip.compress(b" " * (target.bytes + rng.randrange(1, 10**6)), 9, mtime=0)
    small = gzip.compress(b"{}", mtime=0)
    data, packing = rng.choice(
        [
            (body, "gzip"),
            (body + body, "gzip"),
            (small * 200, "gzip"),
            (small[: rng.randrange(1, len(small))], "gzip"),
            (small + rng.randbytes(9), "gzip"),
            (rng.randbytes(99), "gzip"),
            (b"{}", rng.choice(["br", "deflate", "zstd", "gzip, gzip", "x" * 3000])),
        ]
    )
    made = rest.predict("costly: packed", target, data)
    return dataclasses.replace(made, headers={**made.headers, "content-encoding": packing})


def long_name(rng: random.Random, target: Target) -> RestRequest:
    """A name of up to a megabyte instead of a short one."""
    name = rng.choice(["x", "title", "photo_", "\u00e9", "\n"]) * rng.randrange(1000, 90_000)
    name = name[: target.bytes // 3]
    kind = "costly: long name"
    match rng.randrange(5):
        case 0:
            body: Any = rank.good(target) | {name: 1}
        case 1:
            body = rank.good(target) | {"query": {name: "red"}}
        case 2:
            body = rank.good(target)
            body["candidates"][0] = {name: 1}
        case 3:
            return rest.predict(kind, target, {"signature_name": name, "inputs": {}})
        case _:
            given = rest.good(target, "rank_items")
            given["inputs"][name] = given["inputs"].pop("items")
            return rest.predict(kind, target, given)
    return dataclasses.replace(rest.predict(kind, target, body), path="/rank")


def odd_path(rng: random.Random, target: Target) -> RestRequest:
    """Versions of thousands of digits, paths in other case, with an extra slash, or very long."""
    base = f"/v1/models/{target.model}"
    digits = "9" * rng.randrange(20, 6000)
    path = rng.choice(
        [
            f"{base}/versions/{digits}:predict",
            f"{base}/versions/0099999:predict",
            f"/V1/MODELS/{target.model.upper()}:PREDICT",
            f"{base}/Versions/{digits}:Regress",
            f"{base}:predict/",
            "/rank/",
            "/" * rng.randrange(2, 3000),
            f"{base}/labels/{'x' * rng.randrange(1, 30_000)}:predict",
        ]
    )
    made = rest.predict("costly: odd path", target, rest.good(target, "rank_items"))
    return dataclasses.replace(made, path=path, headers={**made.headers, "host": "evil.example"})


def many_lookups(rng: random.Random, target: Target) -> RestRequest:
    """More items to look up or encode than a request may have candidates."""
    body = {"inputs": {"items": ["P"] * (MOST + rng.randrange(1, 999))}}
    return rest.predict("costly: many lookups", target, {"signature_name": LOOKUP} | body)


def spread_text(rng: random.Random, target: Target) -> GrpcCall:
    """One text that a shape repeats thousands of times, or one number millions of times."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, LOOKUP
    text = b"x" * rng.randrange(10_000, target.bytes // 2)
    proto = request.inputs["items"]
    if rng.random() < 0.2:
        text = b"x"
        count = rng.choice([250_000, 10**6, 10**9])
    else:
        count = MOST - rng.randrange(100)
    proto.CopyFrom(tf.make_tensor_proto([text]))
    proto.tensor_shape.dim[0].size = count
    return grpc_calls.predict("costly: gRPC spread text", target, request)


def many_parts(rng: random.Random, target: Target) -> GrpcCall:
    """A message of hundreds of thousands of parts of two bytes each."""
    count = target.bytes // 2 - 1000
    match rng.randrange(4):
        case 0:  # inputs, each without a name
            call = _call(target, b"\x12\x00" * count, "Predict")
        case 1:  # examples without a feature
            call = _call(target, field(2, field(1, b"\x0a\x00" * count)), "Regress")
        case 2:  # the same, with a context
            call = _call(target, field(2, field(2, b"\x0a\x00" * count)), "Classify")
        case _:  # features without a name
            example = field(1, b"\x0a\x00" * count)
            request = predict_pb2.PredictRequest()
            request.model_spec.name = target.model
            request.model_spec.signature_name = "tensorflow/serving/regress"
            request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([example], tf.string, [1]))
            call = grpc_calls.predict("", target, request)
    return dataclasses.replace(call, kind="costly: gRPC many parts")


def many_contexts(rng: random.Random, target: Target) -> GrpcCall:
    """A large context shared by thousands of examples."""
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = "tensorflow/serving/regress"
    given = request.input.example_list_with_context
    given.context.features.feature["query"].bytes_list.value.append(
        b"x" * rng.randrange(100_000, target.bytes // 2)
    )
    for _ in range(rng.randrange(1000, 5000)):
        given.examples.add()
    call = grpc_calls.predict("costly: gRPC many contexts", target, request)
    return dataclasses.replace(call, method=f"{SERVICE}PredictionService/Regress")


REST_MAKERS = (crowded_json, packed, long_name, odd_path, many_lookups)
GRPC_MAKERS = (spread_text, many_parts, many_contexts)


def field(number: int, data: bytes) -> bytes:
    """A field with bytes in a message."""
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def _call(target: Target, tail: bytes, method: str) -> GrpcCall:
    spec = predict_pb2.PredictRequest()
    spec.model_spec.name = target.model
    call = grpc_calls.predict("", target, spec.SerializeToString() + tail)
    return dataclasses.replace(call, method=f"{SERVICE}PredictionService/{method}")
