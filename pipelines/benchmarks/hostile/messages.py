"""gRPC messages that are legal but absurd: parts, shapes, unknown fields, compression."""

from __future__ import annotations

import dataclasses
import random

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from pipelines.benchmarks.hostile import grpc_calls
from pipelines.benchmarks.hostile.bodies import GROWING
from pipelines.benchmarks.hostile.costly import LOOKUP, field
from pipelines.benchmarks.hostile.grpc_calls import GrpcCall, Maker
from pipelines.benchmarks.hostile.target import Target


def many_texts(rng: random.Random, target: Target) -> GrpcCall:
    """Hundreds of thousands of texts of one or two bytes, or fewer texts than the shape says."""
    count = target.bytes // rng.randrange(4, 9)
    request = _lookup(target)
    proto = request.inputs["items"]
    proto.dtype = tf.string.as_datatype_enum
    proto.string_val.extend([b"x" * rng.randrange(2)] * count)
    proto.tensor_shape.dim.add(size=count * rng.choice([1, 2]))
    return grpc_calls.predict("gRPC: many texts", target, request)


def many_dimensions(rng: random.Random, target: Target) -> GrpcCall:
    """A shape with thousands of dimensions, or with a product that overflows."""
    request = grpc_calls.good(target, "rank_items")
    proto = request.inputs[rng.choice(sorted(request.inputs))]
    sizes = rng.choice([[1] * rng.randrange(255, 90_000), [2**40] * 9, [2**62, 4], [0] * 70])
    del proto.tensor_shape.dim[:]
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return grpc_calls.predict("gRPC: many dimensions", target, request)


def unpacked_numbers(rng: random.Random, target: Target) -> GrpcCall:
    """Numbers of two bytes each, separate or packed, of a type other than the input's."""
    number = rng.choice([7, 10, 11, 13, 16, 17])  # int_val, int64_val, bool_val, half_val, …
    count = target.bytes // 2 - 3000
    packed = field(number, b"\x01" * (2 * count))
    single = (bytes([number << 3]) if number < 16 else b"\x80\x01") + b"\x01"
    values = rng.choice([packed, single * (count * 2 // len(single))])
    kind = rng.choice([1, 3, 9, 10, 17, 19, 22, 23])
    tensor = bytes([0x08, kind]) + field(2, field(2, b"\x08" + _varint(2 * count))) + values
    entry = field(2, field(1, b"items") + field(2, tensor))
    return _tailed("gRPC: numbers one by one", target, entry)


def unknown_fields(rng: random.Random, target: Target) -> GrpcCall:
    """Unknown fields: nested groups, and very many fields."""
    deep = rng.randrange(101, 100_000)
    tail = rng.choice(
        [
            b"\x9b\x06" * deep + b"\x9c\x06" * deep,  # nested groups
            b"\xa0\x06\x01" * deep,
            b"\x9b\x06" * deep,
            b"\xa2\x06\x00" * deep,
        ]
    )
    made = _tailed("gRPC: unknown fields", target, tail)
    return dataclasses.replace(made, answered=True)


def same_input(rng: random.Random, target: Target) -> GrpcCall:
    """One input, or one name of an output, repeated many times."""
    good = grpc_calls.good(target, "rank_items")
    whole = good.SerializeToString(deterministic=True)
    entry = field(2, field(1, b"query"))
    tail = rng.choice([entry, field(3, b"scores"), field(2, b"")]) * rng.randrange(2, 50_000)
    made = grpc_calls.predict("gRPC: the same input", target, whole + tail)
    return dataclasses.replace(made, answered=True)


def long_texts(rng: random.Random, target: Target) -> GrpcCall:
    """Texts that grow when they are normalised, in a query or in all products."""
    signature = rng.choice(["rank_items", "serving_default"])
    request = grpc_calls.good(target, signature)
    inputs = target.signatures[signature]
    texts = [n for n, i in inputs.items() if i.dtype == "DT_STRING" and n not in target.media]
    proto = request.inputs[rng.choice(sorted(texts))]
    unit = rng.choice(GROWING).encode()
    count = max(1, len(proto.string_val))
    most = target.bytes // count // len(unit) - 1000
    del proto.string_val[:]
    proto.string_val.extend([unit * rng.randrange(1000, most)] * count)
    made = grpc_calls.predict("gRPC: long texts", target, request)
    return dataclasses.replace(made, answered=True)


def not_texts(rng: random.Random, target: Target) -> GrpcCall:
    """Texts with bytes that are not UTF-8, and with half surrogate pairs."""
    request = grpc_calls.good(target, "rank_items")
    junk = rng.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\xf4\x90\x80\x80"])
    for name in ("query", "items"):
        if name in request.inputs:
            proto = request.inputs[name]
            count = len(proto.string_val)
            del proto.string_val[:]
            proto.string_val.extend([junk * rng.randrange(1, 9000)] * count)
    made = grpc_calls.predict("gRPC: bytes for texts", target, request)
    return dataclasses.replace(made, answered=True)


def long_metadata(rng: random.Random, target: Target) -> GrpcCall:
    """Metadata beyond the limits of a server."""
    made = grpc_calls.predict("gRPC: metadata", target, grpc_calls.good(target, "rank_items"))
    more = rng.choice(
        [
            [("x-long", "y" * rng.randrange(30_000, 200_000))],
            [(f"x-{n}", "y" * 50) for n in range(rng.randrange(900, 3000))],
        ]
    )
    return dataclasses.replace(made, metadata=(*made.metadata, *more), explained=False)


def packed(rng: random.Random, target: Target) -> GrpcCall:
    """A message that gzip compresses to a thousandth."""
    request = _lookup(target)
    text = b"x" * (target.bytes + rng.randrange(1, 20 * target.bytes))
    request.inputs["items"].CopyFrom(tf.make_tensor_proto([text]))
    made = grpc_calls.predict("gRPC: packed", target, request)
    return dataclasses.replace(made, packed=True)


def many_encodings(rng: random.Random, target: Target) -> GrpcCall:
    """More items to encode than a request may have."""
    signature = "encode_items" if "encode_items" in target.signatures else "serving_default"
    request = grpc_calls.good(target, signature)
    for name, given in target.signatures[signature].items():
        proto = request.inputs[name]
        if given.shape and given.shape[0] == -1:
            proto.tensor_shape.dim[0].size = rng.choice([25_000, 90_000, 2**31])
    return grpc_calls.predict("gRPC: many to encode", target, request)


GRPC_MAKERS: tuple[Maker, ...] = (
    many_texts,
    many_dimensions,
    unpacked_numbers,
    unknown_fields,
    same_input,
    long_texts,
    not_texts,
    long_metadata,
    packed,
    many_encodings,
)


def _lookup(target: Target) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, LOOKUP
    return request


def _tailed(kind: str, target: Target, tail: bytes) -> GrpcCall:
    """A lookup followed by further fields."""
    return grpc_calls.predict(kind, target, _lookup(target).SerializeToString() + tail)


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])
