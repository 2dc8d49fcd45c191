"""Small files that are costly to decode, sent to /rank and to TensorFlow Serving's API."""

from __future__ import annotations

import base64
import dataclasses
import io
import random
import struct
import wave
from collections.abc import Callable

import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, regression_pb2
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from pipelines.benchmarks.hostile import grpc_calls, rank, rest
from pipelines.benchmarks.hostile.grpc_calls import SERIALIZED, SERVICE, GrpcCall
from pipelines.benchmarks.hostile.rest import RestRequest
from pipelines.benchmarks.hostile.target import Target, photo


def filling(rng: random.Random) -> bytes:
    """A JPEG with only fill bytes, or with endless markers."""
    return b"\xff\xd8\xff" + rng.choice([b"\xff", b"\xff\xd0", b"\xff\x00"]) * 200_000


def blocks(rng: random.Random) -> bytes:
    """A GIF of blocks of one byte."""
    head = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"\x21\xfe"
    return head + b"\x01a" * rng.randrange(100_000, 200_000)


def scans(rng: random.Random) -> bytes:
    """A JPEG with a hundred scans over many megapixels."""
    side = rng.randrange(2500, 4900)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00\x2c"
    return b"\xff\xd8" + frame + scan * rng.randrange(41, 100) + b"\xff\xd9"


def frames(rng: random.Random) -> bytes:
    """A truncated GIF of many frames."""
    made = [Image.new("L", (8, 8), i % 251) for i in range(rng.randrange(50, 300))]
    file = io.BytesIO()
    made[0].save(file, "GIF", save_all=True, append_images=made[1:])
    return file.getvalue()[:-1]


def sound(rng: random.Random) -> bytes:
    """A WAV with too many channels, or without samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(rng.choice([1, 33, 200]))
        out.setsampwidth(2)
        out.setframerate(8000)
    return file.getvalue()


def others(rng: random.Random) -> bytes:
    """Files for decoders that must not be used."""
    heads = [
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"II*\x00",
        b"%!PS-Adobe",
        b"8BPS",
        b"\x00\x00\x00 ftypheic",
    ]
    heads += [b"P6 9999 9999 255\n", b"qoif", b"#EXTM3U\nhttp://127.0.0.1/", b"SIMPLE  =  T"]
    return rng.choice(heads) + rng.randbytes(60)


def chunks(rng: random.Random) -> bytes:
    """A PNG with thousands of empty chunks, or with a text compressed a thousandfold."""
    data = photo()
    empty = b"\x00\x00\x00\x00tEXt" + struct.pack(">I", 0x3D4BDA1E)
    return data[:33] + empty * rng.randrange(10_000, 20_000) + data[33:60]


FILES: dict[str, Callable[[random.Random], bytes]] = {
    "JPEG of filling": filling,
    "GIF of tiny blocks": blocks,
    "JPEG of a hundred scans": scans,
    "GIF of many frames": frames,
    "WAV of many channels": sound,
    "file for other decoders": others,
    "PNG of empty chunks": chunks,
}


def of_rank(name: str) -> rest.Maker:
    """Returns a function that makes /rank requests with a product with one kind of file."""

    def make(rng: random.Random, target: Target) -> RestRequest:
        body = rank.good(target)
        encoded = base64.b64encode(FILES[name](rng)).decode()
        body["candidates"][rng.randrange(2)] = {_media(target): {"b64": encoded}}
        made = rest.predict(f"costly: {name}", target, body)
        return dataclasses.replace(made, path="/rank", files=1)

    make.__name__ = f"rank_{name.replace(' ', '_')}"
    return make


def many_photos(rng: random.Random, target: Target) -> RestRequest:
    """A request with more photos than allowed."""
    one = {_media(target): {"b64": base64.b64encode(photo()).decode()}}
    body = rank.good(target) | {"candidates": [one] * rng.randrange(60, 200)}
    made = rest.predict("costly: many photos", target, body)
    return dataclasses.replace(made, path="/rank", files=1)


def in_a_tensor(rng: random.Random, target: Target) -> RestRequest:
    """A file in JSON, for the graph to decode."""
    body = rest.good(target, "serving_default")
    rows = body["inputs"].get(_media(target))
    data = {"b64": base64.b64encode(_one(rng)).decode()}
    if rows is None:
        body["inputs"]["photo"] = data
    else:
        rows[0][rng.randrange(len(rows[0]))] = data
    return dataclasses.replace(rest.predict("costly: file in a tensor", target, body), files=1)


def in_a_message(rng: random.Random, target: Target) -> GrpcCall:
    """The same over gRPC."""
    request = grpc_calls.good(target, "serving_default")
    proto = request.inputs[_media(target)]
    count = max(1, len(proto.string_val))
    del proto.string_val[:]
    proto.string_val.extend([_one(rng)] * count)
    made = grpc_calls.predict("costly: gRPC file in a tensor", target, request)
    return dataclasses.replace(made, files=count)


def in_a_list(rng: random.Random, target: Target) -> GrpcCall:
    """A file in a list of examples."""
    given = ExampleListWithContext()
    feature = given.examples.add().features.feature[_media(target)]
    feature.bytes_list.value.append(_one(rng))
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, SERIALIZED
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([given.SerializeToString()]))
    made = grpc_calls.predict("costly: gRPC file in a list", target, request)
    return dataclasses.replace(made, files=1)


def in_an_example(rng: random.Random, target: Target) -> GrpcCall:
    """A file in the context shared by examples."""
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = "tensorflow/serving/regress"
    given = request.input.example_list_with_context
    given.context.features.feature[_media(target)].bytes_list.value.append(_one(rng))
    for _ in range(3):
        given.examples.add()
    made = grpc_calls.predict("costly: gRPC file in an example", target, request)
    method = f"{SERVICE}PredictionService/Regress"
    return dataclasses.replace(made, method=method, files=3)


REST_MAKERS = (*map(of_rank, FILES), many_photos, in_a_tensor)
GRPC_MAKERS = (in_a_message, in_a_list, in_an_example)


def _one(rng: random.Random) -> bytes:
    """A file that the graph must refuse."""
    return FILES[rng.choice(["JPEG of filling", "GIF of tiny blocks", "JPEG of a hundred scans"])](
        rng
    )


def _media(target: Target) -> str:
    return next(iter(sorted(target.media)), "photo")
