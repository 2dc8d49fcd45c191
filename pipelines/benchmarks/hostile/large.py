"""Requests as large as the server allows, each in a form that is slow to parse in one step."""

from __future__ import annotations

import base64
import dataclasses
import io
import random
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, regression_pb2

from mmrank.server.guard.options import Limits
from pipelines.benchmarks.hostile import grpc_calls, rest
from pipelines.benchmarks.hostile.costly import LOOKUP, field
from pipelines.benchmarks.hostile.grpc_calls import SERVICE, GrpcCall
from pipelines.benchmarks.hostile.rest import RestRequest
from pipelines.benchmarks.hostile.target import Target

LIMITS = Limits()  # the server has the default limits
MOST_VALUES, MOST_ITEMS = LIMITS.request_values, LIMITS.request_candidates
JSON_VALUES = (b"[]", b"{}", b"1", b"0.12345", b'"a"', b"null", b'{"a":1}', b"[1]")


def many_values(rng: random.Random, target: Target) -> RestRequest:
    """As many small values as a body may have, or twice as many."""
    value = rng.choice(JSON_VALUES)
    parts = 1 + sum(value.count(mark) for mark in (b"[", b"{", b":"))
    count = _about(rng, MOST_VALUES) // parts
    return _json("large: JSON of many values", target, b",".join([value] * count), rng)


def many_keys(rng: random.Random, target: Target) -> RestRequest:
    """An object with as many keys."""
    count = _about(rng, MOST_VALUES) // 2
    keys = b",".join(b'"%dkey":1' % n for n in range(count))
    return _json("large: JSON of many keys", target, b"{" + keys + b"}", rng)


def many_words(rng: random.Random, target: Target) -> RestRequest:
    """As many texts, all different."""
    count = min(_about(rng, MOST_VALUES), target.bytes // 26)
    texts = b",".join(b'"%022d"' % n for n in range(count))
    return _json("large: JSON of many texts", target, texts, rng)


def one_text(rng: random.Random, target: Target) -> RestRequest:
    """One text as long as the body may be: letters, escapes, or base64."""
    unit = rng.choice([b"x", b"\\n", b"\\u00e9", "\u4e00".encode()])
    text = unit * (_about(rng, target.bytes) // len(unit))
    if rng.random() < 0.3:
        data = base64.b64encode(bytes(_about(rng, target.bytes) * 3 // 4))
        return _json("large: JSON of base64", target, b'{"b64":"' + data + b'"}', rng)
    return _json("large: JSON of one text", target, b'"' + text + b'"', rng)


def spaces(rng: random.Random, target: Target) -> RestRequest:
    """A body of spaces."""
    blank = b" " * _about(rng, target.bytes - 1000)
    return _json("large: JSON of spaces", target, blank + b"1", rng)


def looked_up(rng: random.Random, target: Target) -> RestRequest:
    """The maximum number of items to look up; their vectors make a reply of many megabytes."""
    items = [f"P{n % 400:06d}" for n in range(MOST_ITEMS)]
    columns: rest.Json = {"signature_name": LOOKUP, "inputs": {"items": items}}
    rows: rest.Json = {
        "signature_name": LOOKUP,
        "instances": [{"items": item} for item in items],
    }
    body = rng.choice([columns, rows])
    made = rest.predict("large: lookups", target, body)
    return dataclasses.replace(made, answered=True)


def looked_up_call(rng: random.Random, target: Target) -> GrpcCall:
    """The same over gRPC."""
    request = _request(target, LOOKUP)
    items = np.array([f"P{n % 400:06d}" for n in range(MOST_ITEMS)], object)
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(items))
    made = grpc_calls.predict("large: gRPC lookups", target, request)
    return dataclasses.replace(made, answered=True)


def many_texts(rng: random.Random, target: Target) -> GrpcCall:
    """Texts of a few bytes in one tensor, as many as fit."""
    size = rng.choice([0, 3, 14, 60])
    return _tensor("large: gRPC many texts", target, field(8, b"x" * size), rng)


def many_numbers(rng: random.Random, target: Target) -> GrpcCall:
    """Numbers in one tensor, packed or separately."""
    count = _about(rng, target.bytes - 2000) // 4
    if rng.random() < 0.5:
        return _tensor("large: gRPC many numbers", target, b"\x3d\x01\x00\x00\x00", rng)
    request = grpc_calls.good(target, "rank_embeddings")
    name = max(request.inputs, key=lambda n: len(request.inputs[n].tensor_shape.dim))
    proto = request.inputs[name]
    proto.Clear()
    proto.dtype = tf.float32.as_datatype_enum
    rank = len(target.signatures["rank_embeddings"][name].shape)
    for size in (1, count, *[1] * (rank - 2)):
        proto.tensor_shape.dim.add(size=size)
    proto.float_val.extend([1.5] * count)
    return grpc_calls.predict("large: gRPC many numbers", target, request)


def one_field(rng: random.Random, target: Target) -> GrpcCall:
    """One text, or one tensor's content, as long as a message may be."""
    request = _request(target, LOOKUP)
    data = bytes(_about(rng, target.bytes - 200))
    proto = request.inputs["items"]
    proto.dtype = tf.string.as_datatype_enum
    proto.tensor_shape.dim.add(size=1)
    if rng.random() < 0.5:
        proto.string_val.append(data)
    else:
        proto.tensor_content = data
    made = grpc_calls.predict("large: gRPC one field", target, request)
    return dataclasses.replace(made, answered=True)


def many_features(rng: random.Random, target: Target) -> GrpcCall:
    """Values of one feature, or features, of a few bytes each, as many as fit."""
    room = _about(rng, target.bytes - 2000)
    value = field(1, rng.choice([b"", b"x" * 14]))
    feature = field(2, field(1, value * (room // len(value))))
    if rng.random() < 0.3:
        feature = b"\x0a\x00" * (room // 2)
    else:
        feature = field(1, field(1, b"query") + feature)
    # Features that the signature does not read are ignored, as TensorFlow's parser does.
    made = _examples("large: gRPC many features", target, field(1, feature), rng)
    return dataclasses.replace(made, answered=True)


def long_examples(rng: random.Random, target: Target) -> GrpcCall:
    """Examples with a long text each."""
    count = rng.choice([1, 100, 19_000])
    request = regression_pb2.RegressionRequest()
    text = b"x" * (_about(rng, target.bytes - 4000) // count - 30)
    one = request.input.example_list.examples.add()
    one.features.feature["query"].bytes_list.value.append(text)
    example = field(1, one.SerializeToString())
    made = _examples("large: gRPC examples", target, None, rng, example * count)
    return dataclasses.replace(made, answered=True)


def photos(rng: random.Random, target: Target) -> GrpcCall:
    """Large photos with as many pixels as a request may have, for the graph to decode."""
    request = grpc_calls.good(target, "serving_default")
    mode, side = rng.choice(["RGB", "RGBA"]), int(1000 * LIMITS.image_megapixels**0.5)
    file = io.BytesIO()
    Image.new(mode, (side, side), (200, 30, 40, 100)[: len(mode)]).save(file, "PNG")
    for name in sorted(target.media)[:1]:
        proto = request.inputs[name]
        count = min(6, proto.tensor_shape.dim[0].size * proto.tensor_shape.dim[1].size)
        del proto.string_val[:]
        proto.string_val.extend([file.getvalue()] * count)
    made = grpc_calls.predict("large: gRPC photos", target, request)
    return dataclasses.replace(made, answered=True, files=6)


MAKERS: tuple[Any, ...] = (
    photos,
    many_values,
    many_keys,
    many_words,
    one_text,
    spaces,
    looked_up,
    looked_up_call,
    many_texts,
    many_numbers,
    one_field,
    many_features,
    long_examples,
)


def _about(rng: random.Random, most: int) -> int:
    """A number slightly below the limit, rarely slightly above."""
    return int(most * rng.choice([0.5, 0.9, 0.95, 0.97, 1.1]))


def _json(kind: str, target: Target, value: bytes, rng: random.Random) -> RestRequest:
    signature = b'{"signature_name":"lookup_items",'
    if rng.random() < 0.5:
        made = rest.predict(kind, target, signature + b'"inputs":{"items":[' + value + b"]}}")
    else:
        made = rest.predict(kind, target, b'{"query":"red","candidates":[' + value + b"]}")
        made = dataclasses.replace(made, path="/rank")
    return dataclasses.replace(made, answered=True)


def _request(target: Target, signature: str) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, signature
    return request


def _tensor(kind: str, target: Target, value: bytes, rng: random.Random) -> GrpcCall:
    count = _about(rng, target.bytes - 2000) // len(value)
    proto = predict_pb2.PredictRequest().inputs["items"]
    proto.dtype = tf.string.as_datatype_enum
    proto.tensor_shape.dim.add(size=count)
    tensor = proto.SerializeToString() + value * count
    entry = field(2, field(1, b"items") + field(2, tensor))
    return grpc_calls.predict(kind, target, _request(target, LOOKUP).SerializeToString() + entry)


def _examples(
    kind: str, target: Target, example: bytes | None, rng: random.Random, examples: bytes = b""
) -> GrpcCall:
    listed = examples if example is None else field(1, example)
    spec = _request(target, "tensorflow/serving/regress").SerializeToString()
    call = grpc_calls.predict(kind, target, spec + field(2, field(1, listed)))
    return dataclasses.replace(call, method=f"{SERVICE}PredictionService/Regress")
