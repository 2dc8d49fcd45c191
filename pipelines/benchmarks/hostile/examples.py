"""Hostile requests to the signature of serialized tf.Example messages, over REST and gRPC."""

from __future__ import annotations

import base64
import dataclasses
import json
import random
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, regression_pb2

from mmrank.server.guard.options import Limits
from pipelines.benchmarks.hostile import grpc_calls, rest
from pipelines.benchmarks.hostile.grpc_calls import SERVICE, GrpcCall
from pipelines.benchmarks.hostile.images import ABSURD
from pipelines.benchmarks.hostile.rest import Json, RestRequest
from pipelines.benchmarks.hostile.target import Target

SIGNATURE = "tensorflow/serving/regress"
MOST = Limits().request_candidates  # the benchmark's server has the default limits
JUNK = b"\xff\xff garbage "  # not the start of any message


def good_rest(target: Target) -> list[RestRequest]:
    """Requests that are answered, by :regress and in both formats by :predict."""
    given = _good(target)
    row = _base64(_bytes(given))
    together = {"context": _plain(given), "examples": [{}, _plain(given)]}
    return [
        _regress("good", target, together),
        _predict("good", target, {"instances": [row]}),
        _predict("good", target, {"inputs": {"inputs": [row, row]}}),
    ]


def good_grpc(target: Target) -> list[GrpcCall]:
    """Calls that are answered: Regress and Predict."""
    request = _regression(target)
    for _ in range(2):
        request.input.example_list.examples.add().CopyFrom(_example(_good(target)))
    return [
        _regress_call("gRPC Regress", target, request),
        _predict_call(
            "gRPC Predict of examples", target, tf.make_tensor_proto([_bytes(_good(target))])
        ),
    ]


def malformed(rng: random.Random, target: Target) -> RestRequest:
    """JSON to :regress that ends early, is garbled, or is not an object."""
    body = {"signature_name": SIGNATURE, "examples": [_plain(_good(target))]}
    whole = json.dumps(body).encode()
    bodies = [
        whole[: rng.randrange(len(whole))],
        whole.replace(b"1.0", rng.choice([b"NaN", b"-Infinity", b"1e999", b"01"]), 1) + b"}",
        whole.replace(b":", rng.choice([b"=", b"::", b","]), 1),
        b'{"examples":' * rng.randrange(1, 20_000),
        rng.randbytes(rng.randrange(1, 3000)),
        rng.choice([b"null", b"17", b'"examples"', b"[]", b"[{}]", b"{}"]),
    ]
    return _regress("regress: malformed JSON", target, rng.choice(bodies))


def wrong_json(rng: random.Random, target: Target) -> RestRequest:
    """Invalid examples, context or values, and a wrong signature."""
    body: Json = {"context": {}, "examples": [_plain(_good(target)) for _ in range(3)]}
    match rng.randrange(4):
        case 0:
            body["examples"] = rng.choice([None, 3, "x", {}, [], [[]], [None], [{}, 3], ["x"]])
        case 1:
            body["context"] = rng.choice([None, 3, "x", [], [{}], True])
        case 2:
            names = ["none", "serving_default", "rank_items", 3, None, [], {}, "x" * 5000]
            body["signature_name"] = rng.choice(names)
        case _:
            values: list[Any] = [None, [None], [[1.0]], [1, 2.5], ["a", 1], [True, "a"], {}, [{}]]
            values += [{"b64": "%%%"}, {"b64": 5}, {"b65": "YQ=="}, [{"b64": []}], 2**63]
            features = rng.choice([body["context"], *body["examples"]])
            features[rng.choice(["price", "x" * 3000, "", "\n"])] = rng.choice(values)
    return _regress("regress: wrong JSON", target, body)


def wrong_features(rng: random.Random, target: Target) -> RestRequest:
    """Examples of which one has a value of a wrong type or an absurd image, or too many."""
    if rng.random() < 0.05:
        return _regress("regress: huge", target, {"examples": [{}] * (MOST + rng.randint(1, 99))})
    bad = _plain(_spoiled(rng, target))
    body: Json = {"examples": [_plain(_good(target)) for _ in range(rng.randrange(3))]}
    body["examples"].insert(rng.randint(0, len(body["examples"])), bad)
    if rng.random() < 0.3:
        body = {"context": bad, "examples": [{}, {}]}
    return _regress("regress: wrong features", target, body)


def wrong_rows(rng: random.Random, target: Target) -> RestRequest:
    """Base64 to :predict with no example, a bad one, or too many, and invalid rows."""
    rows: list[Any] = [_base64(m) for m in _messages(rng, target)]
    match rng.randrange(4):
        case 0:
            plain: list[Any] = [
                3,
                None,
                True,
                "no message",
                {"b64": "%%%"},
                {"b64": 5},
                {"b65": "YQ=="},
                [],
            ]
            rows = [_base64(_bytes(_good(target))), rng.choice(plain)]
        case 1:
            rows = [[row] for row in rows] or [[]]
    body: Json = rng.choice(
        [
            {"instances": rows},
            {"instances": [{"inputs": row} for row in rows]},
            {"inputs": rows},
            {"inputs": {"inputs": rows}},
        ]
    )
    return _predict("regress: wrong rows", target, body)


def regress_call(rng: random.Random, target: Target) -> GrpcCall:
    """A Regress call without an example, with a bad one, or with too many."""
    request = _regression(target)
    match rng.randrange(6):
        case 0:
            if rng.random() < 0.5:
                request.input.example_list.SetInParent()
        case 1:
            request.model_spec.signature_name = rng.choice(["", "none", "rank_items", "x" * 5000])
            request.input.example_list.examples.add()
        case 2:
            given = request.input.example_list_with_context
            given.context.CopyFrom(_example(_spoiled(rng, target)))
            given.examples.add()
        case 3 if rng.random() < 0.2:
            for _ in range(MOST + rng.randint(1, 99)):
                request.input.example_list.examples.add()
        case 4:
            whole = request.SerializeToString(deterministic=True)
            junk = bytes([0x12, len(JUNK)]) + JUNK  # as the field `input`
            return _regress_call("gRPC: regress", target, whole + junk)
        case _:
            request.input.example_list.examples.add().CopyFrom(_example(_good(target)))
            request.input.example_list.examples.add().CopyFrom(_example(_spoiled(rng, target)))
    return _regress_call("gRPC: regress", target, request)


def predict_call(rng: random.Random, target: Target) -> GrpcCall:
    """A Predict call with messages that are bad, too many, not examples, or not texts."""
    rows = _messages(rng, target)
    proto = tf.make_tensor_proto(rows, tf.string, [len(rows)])
    match rng.randrange(5):
        case 0:
            proto = tf.make_tensor_proto(rng.choice([[1.0], [7], [True], 1.0]))
        case 1:
            proto.tensor_shape.dim.add(size=rng.choice([1, 2, -1, 2**40]))
        case 2:
            del proto.tensor_shape.dim[:]
    return _predict_call("gRPC: regress by Predict", target, proto)


REST_MAKERS = (malformed, wrong_json, wrong_features, wrong_rows)
GRPC_MAKERS = (regress_call, predict_call)


def _good(target: Target) -> dict[str, Any]:
    """A candidate with its context and few features: a text, bytes or a float each."""
    inputs = target.signatures["serving_default"]
    values = {n: a.flat[0] for n, a in target.arrays("serving_default").items()}
    raw = {n: v for n, v in values.items() if f"{n}_present" in inputs}
    return {n: v if isinstance(v, (str, bytes)) else float(v) for n, v in raw.items()}


def _spoiled(rng: random.Random, target: Target) -> dict[str, Any]:
    """The same with an absurd image or a value of a wrong type."""
    given = _good(target)
    media = sorted(target.media & given.keys())
    if media and rng.random() < 0.6:
        return given | {rng.choice(media): rng.choice(ABSURD)(rng)}
    name = rng.choice(sorted(given))
    return given | {name: rng.choice(["cheap", 7] if isinstance(given[name], float) else [1.5, 7])}


def _messages(rng: random.Random, target: Target) -> list[bytes]:
    """Serialized examples of which one is invalid or bad; or none; or too many."""
    whole = _bytes(_good(target))
    match rng.randrange(6):
        case 0:
            bad = JUNK + rng.randbytes(20)
        case 1:
            bad = whole[: rng.randrange(1, len(whole))]
        case 2:
            return []
        case 3 if rng.random() < 0.2:
            return [b""] * (MOST + rng.randint(1, 99))
        case _:
            bad = _bytes(_spoiled(rng, target))
    rows = [whole] * rng.randrange(3)
    rows.insert(rng.randint(0, len(rows)), bad)
    return rows


def _example(features: Mapping[str, Any]) -> Any:
    made = tf.train.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, (str, bytes)):
            data = value.encode() if isinstance(value, str) else value
            feature.bytes_list.value.append(data)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return made


def _bytes(features: Mapping[str, Any]) -> bytes:
    message: bytes = _example(features).SerializeToString(deterministic=True)
    return message


def _base64(data: bytes) -> Json:
    return {"b64": base64.b64encode(data).decode()}


def _plain(features: Mapping[str, Any]) -> Json:
    return {n: _base64(v) if isinstance(v, bytes) else v for n, v in features.items()}


def _predict(kind: str, target: Target, body: Json) -> RestRequest:
    return rest.predict(kind, target, {"signature_name": SIGNATURE} | body)


def _regress(kind: str, target: Target, body: Json | bytes) -> RestRequest:
    content = body if isinstance(body, bytes) else {"signature_name": SIGNATURE} | body
    made = rest.predict(kind, target, content)
    return dataclasses.replace(made, path=f"/v1/models/{target.model}:regress")


def _regression(target: Target) -> Any:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, SIGNATURE
    return request


def _regress_call(kind: str, target: Target, request: Any) -> GrpcCall:
    made = grpc_calls.predict(kind, target, request)
    return dataclasses.replace(made, method=f"{SERVICE}PredictionService/Regress")


def _predict_call(kind: str, target: Target, proto: Any) -> GrpcCall:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, SIGNATURE
    request.inputs["inputs"].CopyFrom(proto)
    return grpc_calls.predict(kind, target, request)
