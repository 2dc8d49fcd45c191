"""Hostile gRPC calls: each must be refused with a code for a client error."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from pipelines.benchmarks.hostile.images import ABSURD
from pipelines.benchmarks.hostile.target import Input, Target

SERVICE = "/tensorflow.serving."
PREDICT = f"{SERVICE}PredictionService/Predict"
SERIALIZED = "tensorflow/serving/predict"


@dataclasses.dataclass(frozen=True)
class GrpcCall:
    """One call.

    Attributes:
      kind: What is wrong with the call.
      method: Full method name.
      message: Serialized message.
      metadata: Metadata.
      answered: Whether it may also be answered; then it only must not cost more than others.
      files: Number of files in it.
      packed: Whether it is sent with gzip compression.
      explained: Whether the refusal must give a reason; the library does not always give one.
    """

    kind: str
    method: str
    message: bytes
    metadata: Sequence[tuple[str, str]]
    answered: bool = False
    files: int = 0
    packed: bool = False
    explained: bool = True


Maker = Callable[[random.Random, Target], GrpcCall]


def good(target: Target, signature: str) -> Any:
    """The message of a predict call that is answered."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = signature
    for name, array in target.arrays(signature).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array, tf.as_dtype(_dtype(array))))
    return request


def _dtype(array: np.ndarray) -> Any:
    return tf.string if array.dtype == object else array.dtype


def predict(kind: str, target: Target, request: Any, key: str = "rank") -> GrpcCall:
    """A predict call with a key."""
    message = request
    if not isinstance(request, bytes):
        message = request.SerializeToString(deterministic=True)  # the order of maps is not defined
    return GrpcCall(kind, PREDICT, message, (("x-api-key", target.keys[key]),))


def garbage(rng: random.Random, target: Target) -> GrpcCall:
    """Bytes that are not a message of the method, for every method."""
    methods = ["Predict", "Classify", "Regress", "GetModelMetadata"]
    method = rng.choice(methods)
    whole = good(target, "rank_items").SerializeToString(deterministic=True)
    bodies = [b"\xff" * rng.randrange(1, 99), rng.randbytes(rng.randrange(1, 999)) + b"\x07"]
    bodies.append(whole[: rng.randrange(len(whole) // 2, len(whole) - 1)])
    call = predict("gRPC: garbage", target, rng.choice(bodies))
    return dataclasses.replace(call, method=f"{SERVICE}PredictionService/{method}")


def wrong_spec(rng: random.Random, target: Target) -> GrpcCall:
    """A model, version, label or signature that does not exist."""
    request = good(target, "rank_items")
    spec = request.model_spec
    match rng.randrange(7):
        case 0:
            spec.name = rng.choice(["", "other", "../ranker", "x" * 5000])
        case 1:
            spec.version.value = rng.choice([99_999, -1, 2**63 - 1])
        case 2:
            spec.version_label = rng.choice(["none", "x" * 5000])
        case 3:
            spec.signature_name = rng.choice(["none", "__saved_model_init_op", "x" * 5000])
        case 4:
            request.output_filter.append(rng.choice(["none", ""]))
        case 5:
            request.output_filter.extend(["scores", "scores"])
        case _:
            request.Clear()
    return predict("gRPC: wrong spec", target, request)


def wrong_tensor(rng: random.Random, target: Target) -> GrpcCall:
    """A tensor whose type, shape or content does not match the signature."""
    signature = rng.choice(sorted(target.signatures))
    request = good(target, signature)
    name = rng.choice(sorted(request.inputs))
    proto = request.inputs[name]
    given = target.signatures[signature][name]
    match rng.randrange(11):
        case 0:
            del request.inputs[name]
        case 1:
            request.inputs["unheard_of"].CopyFrom(proto)
        case 2:
            proto.dtype = rng.choice([0, 9999, 21, 23, _other(given)])
        case 3:
            proto.tensor_shape.dim.add(size=1)
        case 4:
            proto.tensor_shape.unknown_rank = True
        case 5:
            proto.tensor_shape.dim[0].size = rng.choice([-1, -(2**40), 2**40, 2**62, 10**7])
        case 6:
            proto.tensor_content = rng.randbytes(rng.choice([1, 7, 13]))
            if given.dtype == "DT_STRING":
                del proto.string_val[:]
        case 7:
            proto.CopyFrom(tf.make_tensor_proto(np.zeros([0, 3, 1, 1, 1], np.float32)))
        case 8:
            proto.CopyFrom(tf.make_tensor_proto(np.zeros([2, 3], np.complex64)))
        case 9:
            dims = [d.size for d in proto.tensor_shape.dim]
            proto.Clear()
            proto.dtype = tf.as_dtype(_tf(given)).as_datatype_enum
            for size in (dims[0] + 1, *dims[1:]):
                proto.tensor_shape.dim.add(size=size)
        case _:
            proto.Clear()
    return predict("gRPC: wrong tensor", target, request)


def not_finite(rng: random.Random, target: Target) -> GrpcCall:
    """Embeddings with NaN or infinity in them."""
    request = good(target, "rank_embeddings")
    inputs = target.signatures["rank_embeddings"]
    name = rng.choice([n for n, i in inputs.items() if i.dtype == "DT_FLOAT" and len(i.shape) > 2])
    array = tf.make_ndarray(request.inputs[name]).copy()
    array.flat[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return predict("gRPC: NaN", target, request)


def serialized(rng: random.Random, target: Target) -> GrpcCall:
    """Lists of examples that are invalid, empty, or too many."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = SERIALIZED
    many = ExampleListWithContext()
    one = many.examples.add()
    match rng.randrange(5):
        case 0:
            texts = [b"\xff\xff garbage " + rng.randbytes(20)]
        case 1:
            texts = []
        case 2:
            for _ in range(target.most + rng.randrange(1, 200)):
                many.examples.add()
            texts = [many.SerializeToString()]
        case 3:
            one.features.feature["price"].bytes_list.value.append(b"cheap")
            texts = [many.SerializeToString()]
        case _:
            media = next(iter(sorted(target.media)), None)
            if media is None:
                one.features.feature["price"].bytes_list.value.append(b"cheap")
            else:
                one.features.feature[media].bytes_list.value.append(rng.choice(ABSURD)(rng))
            texts = [many.SerializeToString()]
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(texts, tf.string, [len(texts)]))
    return predict("gRPC: wrong lists", target, request)


def bad_key(rng: random.Random, target: Target) -> GrpcCall:
    """No key, a wrong key, or a key of another role."""
    call = predict("gRPC: bad key", target, good(target, "rank_items"))
    right = target.keys["rank"]
    sent: Sequence[tuple[str, str]] = rng.choice(
        [
            (),
            (("x-api-key", right[:-1]),),
            (("x-api-key", target.keys["revoked"]),),
            (("x-api-key", target.keys["metrics"]),),
            (("authorization", f"Bearer {right}x"),),
            (("authorization", "Bearer"),),
            (("x-api-keys", right),),
        ]
    )
    return dataclasses.replace(call, metadata=sent)


def other_methods(rng: random.Random, target: Target) -> GrpcCall:
    """Other methods with senseless requests, and methods that do not exist."""
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = target.model
    metadata.metadata_field.append("nothing")
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "other"
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name = target.model
    regress.input.example_list.examples.add()
    reload = model_management_pb2.ReloadConfigRequest()
    name, message, key = rng.choice(
        [
            ("PredictionService/GetModelMetadata", metadata, "rank"),
            ("ModelService/GetModelStatus", status, "metrics"),
            ("PredictionService/Regress", regress, "rank"),
            ("PredictionService/Classify", regress, "rank"),
            ("PredictionService/MultiInference", inference_pb2.MultiInferenceRequest(), "rank"),
            ("ModelService/HandleReloadConfigRequest", reload, "rank"),
            ("ModelService/HandleReloadConfigRequest", reload, "admin"),
            ("PredictionService/Explode", reload, "admin"),
            ("SessionService/SessionRun", reload, "rank"),
        ]
    )
    call = GrpcCall(
        "gRPC: other methods",
        f"{SERVICE}{name}",
        message.SerializeToString(),
        (("authorization", f"Bearer {target.keys[key]}"),),
    )
    return call


def huge(rng: random.Random, target: Target) -> GrpcCall:
    """Too many candidates, or too large a message."""
    request = good(target, "rank_items")
    if rng.random() < 0.1:
        big = [b"x" * (target.bytes + 1)]
        request.inputs["query"].CopyFrom(tf.make_tensor_proto(big))
    else:
        width = target.most + rng.randrange(1, 500)
        for name, given in target.signatures["rank_items"].items():
            if len(given.shape) == 2:
                array = target.arrays("rank_items")[name]
                wide = np.resize(array, (len(array), width))
                request.inputs[name].CopyFrom(tf.make_tensor_proto(wide, tf.as_dtype(_dtype(wide))))
    return predict("gRPC: huge", target, request)


MAKERS: tuple[Maker, ...] = (
    garbage,
    wrong_spec,
    wrong_tensor,
    not_finite,
    serialized,
    bad_key,
    other_methods,
    huge,
)


def _tf(given: Input) -> Any:
    return {"DT_FLOAT": tf.float32, "DT_INT32": tf.int32, "DT_BOOL": tf.bool}.get(
        given.dtype, tf.string
    )


def _other(given: Input) -> int:
    """The number of a type other than the input's."""
    return int(tf.float64.as_datatype_enum if given.dtype != "DT_DOUBLE" else 1)
