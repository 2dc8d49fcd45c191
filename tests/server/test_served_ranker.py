"""The exported ranker over both APIs: by the public client, by plain stubs and by hand."""

from __future__ import annotations

import base64
import concurrent.futures
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ovmsclient
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from mmrank.serving.elwc import serialize_list
from mmrank.trained_run import Run

PREDICT = "tensorflow/serving/predict"
PADDED = -1e9
PATIENCE = 240.0  # seconds; the first request of a signature prepares its graph
NUMPY = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_BOOL": np.bool_}


def same(scores: Any, expected: list[np.ndarray]) -> None:
    """Checks that each list has the Keras model's scores, and padding −1e9."""
    for got, want in zip(np.asarray(scores), expected, strict=True):
        np.testing.assert_allclose(got[: len(want)], want, rtol=0, atol=1e-5)
        assert (got[len(want) :] == PADDED).all()


def encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def typed(inputs: Mapping[str, np.ndarray], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """A request's arrays in the types that a model declares."""
    made = {}
    for name, array in inputs.items():
        if dtypes[name] == "DT_STRING":
            texts = [encoded(v) for v in array.ravel()]
            made[name] = np.array(texts, object).reshape(array.shape)
        else:
            made[name] = array.astype(NUMPY[dtypes[name]])
    return made


@pytest.fixture(scope="module")
def dtypes(running: Any) -> dict[str, dict[str, str]]:
    """The types of each signature's inputs, from its metadata."""
    reply = running.http.get("/v1/models/ranker/metadata").json()
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    return {
        key: {name: info["dtype"] for name, info in signature["inputs"].items()}
        for key, signature in signatures.items()
    }


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_the_public_client(
    way: str,
    running: Any,
    served: Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]],
    raw_request: dict[str, np.ndarray],
    expected: list[np.ndarray],
    dtypes: dict[str, dict[str, str]],
) -> None:
    if way == "http":
        client = ovmsclient.make_http_client(running.address)
    else:
        client = ovmsclient.make_grpc_client(running.grpc_address)
    status = client.get_model_status("ranker")
    assert status == {1: {"state": "AVAILABLE", "error_code": 0, "error_message": ""}}
    metadata = client.get_model_metadata("ranker")
    if way == "grpc":
        assert metadata["model_version"] == 1
        assert metadata["inputs"]["query"] == {"shape": [-1], "dtype": "DT_STRING"}
        assert metadata["outputs"]["scores"]["dtype"] == "DT_FLOAT"
    else:  # the client returns the reply of TensorFlow Serving unchanged
        assert metadata["model_spec"]["version"] == "1"
    if way == "http":  # it sends all bytes as UTF-8, but a photo is not UTF-8
        none = np.zeros(raw_request["photo"].shape, bool)
        blank = np.full(none.shape, b"", object)
        raw_request = raw_request | {"photo": blank, "photo_present": none}
        scores = served("serving_default", raw_request)["scores"]  # TensorFlow's, without a server
        expected = [row[: len(want)] for row, want in zip(scores, expected, strict=True)]
    inputs = typed(raw_request, dtypes["serving_default"])
    # The client accepts texts only as fixed-width arrays.
    inputs = {n: a.astype(np.bytes_) if a.dtype == object else a for n, a in inputs.items()}
    same(client.predict(inputs, "ranker", timeout=PATIENCE), expected)
    with pytest.raises(Exception, match="Servable not found") as error:
        client.predict(inputs, "ranker", model_version=3)
    assert type(error.value).__name__ == "ModelNotFoundError"


def test_plain_stubs(
    running: Any,
    id_request: dict[str, np.ndarray],
    expected: list[np.ndarray],
    dtypes: dict[str, dict[str, str]],
) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ranker", "rank_items"
    for name, array in typed(id_request, dtypes["rank_items"]).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    reply = running.predictions.Predict(request, timeout=PATIENCE)
    same(tf.make_ndarray(reply.outputs["scores"]), expected)


def test_rows_and_columns(
    running: Any,
    id_request: dict[str, np.ndarray],
    expected: list[np.ndarray],
    dtypes: dict[str, dict[str, str]],
) -> None:
    inputs = {
        name: [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]
        for name, array in typed(id_request, dtypes["rank_items"]).items()
    }
    shaped = {
        n: np.array(v, object).reshape(id_request[n].shape).tolist() for n, v in inputs.items()
    }
    url = "/v1/models/ranker/versions/1:predict"
    body = {"signature_name": "rank_items", "inputs": shaped}
    # With only one output, the output's name is left out.
    same(running.http.post(url, json=body).json()["outputs"], expected)
    rows = [{n: v[i] for n, v in shaped.items()} for i in range(len(expected))]
    body = {"signature_name": "rank_items", "instances": rows}
    same(running.http.post(url, json=body).json()["predictions"], expected)


def test_regress(running: Any) -> None:
    url = "/v1/models/ranker/versions/1:regress"
    signature = {"signature_name": "tensorflow/serving/regress"}
    examples = [{"title": "red dress", "price": 49.0}, {"title": "blue mug", "price": 9.0}]
    together = {"context": {"query": "red"}, "examples": examples}
    results = running.http.post(url, json=signature | together).json()["results"]
    assert len(results) == 2
    for example, value in zip(examples, results, strict=True):  # neither depends on the other
        alone = {"examples": [example | {"query": "red"}]}
        reply = running.http.post(url, json=signature | alone)
        assert reply.json()["results"] == [pytest.approx(value, abs=1e-5)]


@pytest.fixture(scope="module")
def messages(run: Run, raw_request: dict[str, np.ndarray]) -> list[bytes]:
    """The lists as ELWC messages."""
    made = []
    for b, length in enumerate(raw_request["list_length"]):
        inputs = {}
        for name, array in raw_request.items():
            lists = array.ndim == 2 and not name.startswith("history_")
            inputs[name] = array[b : b + 1, :length] if lists else array[b : b + 1]
        made.append(serialize_list(inputs, list(run.fitted.columns.values()), "history"))
    return made


def elwc_request(message: bytes) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ranker", PREDICT
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([message]))
    return request


@pytest.mark.slow
def test_elwc_replies_of_one_batch_are_trimmed_by_the_client(
    running: Any,
    serve: Callable[..., Any],
    exported: pathlib.Path,
    messages: list[bytes],
    expected: list[np.ndarray],
) -> None:
    requests = [elwc_request(message) for message in (messages[0], messages[-1])]
    wanted = [expected[0], expected[-1]]
    alone = []
    for request, want in zip(requests, wanted, strict=True):
        reply = running.predictions.Predict(request, timeout=PATIENCE)
        alone.append(tf.make_ndarray(reply.outputs["scores"]))
        assert alone[-1].shape == (1, len(want))
        same(alone[-1], [want])

    # The batch is full and starts when the second request arrives.
    batching = {"max_batch_size": 2, "batch_timeout_micros": 60_000_000, "num_batch_threads": 1}
    both = serve(exported.parent, model={"warm_up": False}, batching=batching)
    calls = [both.predictions.Predict.future(request, timeout=PATIENCE) for request in requests]
    for call, own in zip(calls, alone, strict=True):
        scores = tf.make_ndarray(call.result().outputs["scores"])
        # As wide as the longest list of the batch, which may be another request's.
        assert scores.shape == (1, len(wanted[-1]))
        same(scores, list(own))


def test_elwc_over_rest(running: Any, messages: list[bytes], expected: list[np.ndarray]) -> None:
    sent = [{"b64": base64.b64encode(message).decode()} for message in messages]
    url, signature = "/v1/models/ranker:predict", {"signature_name": PREDICT}
    reply = running.http.post(url, json=signature | {"instances": sent})
    same(reply.json()["predictions"], expected)
    reply = running.http.post(url, json=signature | {"inputs": sent})
    same(reply.json()["outputs"], expected)


def test_a_flag_of_a_row_marks_a_modality_as_absent(
    running: Any,
    served: Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]],
    raw_request: dict[str, np.ndarray],
    expected: list[np.ndarray],
) -> None:
    none = np.zeros(raw_request["photo"].shape, bool)
    without = raw_request | {"photo": np.full(none.shape, b"", object), "photo_present": none}
    columns = {name: array.tolist() for name, array in without.items()}
    columns["photo"] = [[{"b64": ""}] * none.shape[1]] * len(none)
    rows = [{n: v[b] for n, v in columns.items()} for b in range(len(none))]
    url = "/v1/models/ranker:predict"
    by_row = running.http.post(url, json={"instances": rows}).json()["predictions"]
    by_column = running.http.post(url, json={"inputs": columns}).json()["outputs"]
    np.testing.assert_allclose(by_row, by_column, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        by_row, served("serving_default", without)["scores"], rtol=0, atol=1e-5
    )
    difference = np.abs(np.asarray(by_row)[-1, : len(expected[-1])] - expected[-1])
    assert difference.max() > 1e-4  # photos do count
    # Without it, the request would not match the signature.
    for row in rows:
        del row["photo"]
    reply = running.http.post(url, json={"instances": rows})
    assert reply.status_code == 400
    assert "photo" in reply.json()["error"]


def test_concurrent_requests(
    running: Any,
    id_request: dict[str, np.ndarray],
    expected: list[np.ndarray],
    dtypes: dict[str, dict[str, str]],
) -> None:
    tensors = typed(id_request, dtypes["rank_items"])

    def ask(number: int) -> None:
        which = number % len(expected)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "ranker", "rank_items"
        for name, array in tensors.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array[which : which + 1]))
        reply = running.predictions.Predict(request, timeout=PATIENCE)
        same(tf.make_ndarray(reply.outputs["scores"]), expected[which : which + 1])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(400)))


def test_a_photo_that_cannot_be_decoded_is_the_clients_error(
    running: Any, raw_request: dict[str, np.ndarray], dtypes: dict[str, dict[str, str]]
) -> None:
    inputs = typed(raw_request, dtypes["serving_default"])
    inputs["photo"] = np.full(inputs["photo"].shape, b"no photo", object)
    inputs["photo_present"] = np.ones(inputs["photo"].shape, bool)
    columns = {}
    for name, array in inputs.items():
        if array.dtype == object:
            flat = [{"b64": base64.b64encode(v).decode()} for v in array.ravel()]
            columns[name] = np.array(flat, object).reshape(array.shape).tolist()
        else:
            columns[name] = array.tolist()
    reply = running.http.post("/v1/models/ranker:predict", json={"inputs": columns})
    assert reply.status_code == 400, reply.text
    assert "\n" not in reply.json()["error"]
