"""The REST API by the rules of TensorFlow Serving, on a model with known answers."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
import pytest

from mmrank.server.json_tensors import write_tensors

URL = "/v1/models/ranker:predict"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_row_format(toy: Any) -> None:
    rows = [{"x": [1, 2.5], "text": "ab"}, {"x": [0, -1], "text": b64(b"\xff\x00c")}]
    reply = toy.http.post(URL, json={"instances": rows})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    # y = 2 x + bytes of the text; outputs whose name ends in _bytes are returned in base64.
    assert reply.json() == {
        "predictions": [
            {"text_bytes": b64(b"ab"), "y": [4.0, 7.0]},
            {"text_bytes": b64(b"\xff\x00c"), "y": [3.0, 1.0]},
        ]
    }


def test_columnar_format(toy: Any) -> None:
    inputs = {"x": [[1.0, 2.0], [3.0, 4.0]], "text": ["", "é"]}
    reply = toy.http.post(URL, json={"inputs": inputs})
    assert reply.json() == {
        "outputs": {"y": [[2.0, 4.0], [8.0, 10.0]], "text_bytes": [b64(b""), b64("é".encode())]}
    }


def test_nan_and_infinity_are_accepted_as_in_tensorflow_serving(toy: Any) -> None:
    rows = '{"x": [NaN, 1.5], "text": "NaN"}, {"x": [Infinity, -Infinity], "text": ""}'
    body = f'{{"instances": [{rows}]}}'
    reply = toy.http.post(URL, content=body)
    assert reply.status_code == 200, reply.text
    assert [row["y"] for row in reply.json()["predictions"]] == [[None, 6.0], [None, None]]


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ({"instances": [4, 9.0]}, {"predictions": [2.0, 3.0]}),
        ({"instances": [{"x": 4}]}, {"predictions": [2.0]}),
        ({"inputs": [4, 9]}, {"outputs": [2.0, 3.0]}),
        ({"inputs": {"x": [4, 9]}}, {"outputs": [2.0, 3.0]}),
    ],
)
def test_names_of_a_single_input_and_output_may_be_omitted(
    toy: Any, body: dict[str, Any], reply: dict[str, Any]
) -> None:
    assert toy.http.post(URL, json={"signature_name": "root"} | body).json() == reply


def test_deeply_nested_lists_are_refused(toy: Any) -> None:
    body = "[" * 40 + "1" + "]" * 40
    reply = toy.http.post(
        "/v1/models/ranker:predict", content=f'{{"signature_name": "root", "inputs": {body}}}'
    )
    assert reply.status_code == 400
    assert "nested more than 32 deep" in reply.json()["error"]


@pytest.mark.parametrize("path", ["", "/versions/5", "/labels/stable", "/versions/0"])
def test_versions_and_labels(toy: Any, path: str) -> None:
    url = f"/v1/models/ranker{path}:predict"
    reply = toy.http.post(url, json={"signature_name": "root", "inputs": [16]})
    assert reply.json() == {"outputs": [4.0]}


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/ranker/versions/4:predict", 404, "Specific(ranker, 4)"),
        ("/v1/models/ranker/labels/canary:predict", 400, "Unrecognized servable version label"),
        ("/v1/models/ranker/versions/99999999999999999999:predict", 400, "to numeric"),
        (f"/v1/models/ranker/versions/{'9' * 5000}:predict", 400, "to numeric"),
        (f"/v1/models/ranker/versions/{'0' * 5000}4:predict", 404, "Specific(ranker, 4)"),
        ("/v1/models/ranker:guess", 400, "Malformed request: POST"),
        ("/v1/models/ranker/versions/x:predict", 400, "Malformed request: POST"),
        ("/v2/models/ranker:predict", 404, "Malformed request: POST"),
    ],
)
def test_wrong_paths(toy: Any, path: str, status: int, said: str) -> None:
    reply = toy.http.post(path, json={"signature_name": "root", "inputs": [1]})
    assert reply.status_code == status
    assert said in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "The document is empty"),
        ("{", "JSON Parse error"),
        ('{"inputs": [NaN, "\\ud800"]}', "JSON Parse error"),
        ('{"inputs": [NaN], "inputs": }', "JSON Parse error"),
        ('{"inputs": [nan]}', "JSON Parse error"),
        ("[NaN]", "is a list, not an object"),
        ('{"instances": [{"x": [NaN, 1e39], "text": ""}]}', "a number is too large for float"),
        ('{"inputs": {"x": [[NaN, 9007199254740993]], "text": [""]}}', "without loss of precision"),
        ("[1]", "is a list, not an object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs": {}, "instances": []}', "only one of 'inputs' or 'instances'"),
        ('{"instances": []}', "No values in 'instances'"),
        ('{"instances": {"x": 1}}', "Expecting 'instances' to be a list"),
        ('{"instances": [1]}', "expecting list of objects"),
        ('{"instances": [{"x": [1]}]}', "keys must be equal to: text,x; missing: text"),
        ('{"instances": [{"x": [1], "tex": "a"}]}', "did you mean 'text'"),
        ('{"instances": [{"x": [1], "text": "a"}, 7]}', "got list at item 1"),
        ('{"inputs": [1]}', "expecting an object"),
        ('{"inputs": {"x": [[1]]}}', "Missing named input: text"),
        ('{"inputs": {"x": [["1"]], "text": ["a"]}}', 'input x: JSON Value: "1" Type: text'),
        ('{"inputs": {"x": [[true]], "text": ["a"]}}', "Type: flag is not of expected type"),
        ('{"inputs": {"x": [[null]], "text": ["a"]}}', "Type: null is not of expected type"),
        ('{"inputs": {"x": [[1]], "text": [1]}}', "input text: JSON Value: 1 Type: number"),
        ('{"inputs": {"x": [[1], [1, 2]], "text": ["a", "b"]}}', "unequal length"),
        ('{"inputs": {"x": [[1], 2], "text": ["a", "b"]}}', "unequal length"),
        ('{"inputs": {"x": [1], "text": ["a"]}}', "expected float32 [?, ?], got the shape [1]"),
        ('{"inputs": {"x": [[1]], "text": ["a", "b"]}}', "1 rows, while text has 2"),
        ('{"inputs": {"x": [[16777217]], "text": ["a"]}}', "without loss of precision"),
        ('{"inputs": {"x": [[1e39]], "text": ["a"]}}', "too large for float32"),
        ('{"inputs": {"x": [], "text": []}}', "the request has no rows"),
        ('{"inputs": {"x": [[1]], "text": [{"b64": "*"}]}}', "Unable to base64 decode"),
        ('{"inputs": {"x": [[1]], "text": [{"b46": "YQ=="}]}}', "base64 data"),
        ('{"signature_name": 3, "inputs": [1]}', "'signature_name' key must be a string"),
        ('{"signature_name": "rot", "inputs": [1]}', 'signature key "rot" not found'),
        ('{"signature_name": "root", "inputs": [-1]}', "x is below 0"),
    ],
)
def test_wrong_bodies_are_bad_requests(toy: Any, body: str, said: str) -> None:
    reply = toy.http.post(URL, content=body)
    assert reply.status_code == 400, reply.text
    assert said in reply.json()["error"]


def test_status(toy: Any) -> None:
    one = {
        "version": "5",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("", "/versions/5", "/labels/stable"):
        reply = toy.http.get(f"/v1/models/ranker{path}")
        assert reply.json() == {"model_version_status": [one]}
    reply = toy.http.get("/v1/models/ranker/versions/4")
    assert (reply.status_code, reply.json()) == (
        404,
        {"error": "Could not find version 4 of model ranker"},
    )
    assert toy.http.get("/v1/models/other").status_code == 404
    assert toy.http.get("/v1/models").json() == {"error": "Missing model name in request."}


def test_metadata(toy: Any) -> None:
    reply = toy.http.get("/v1/models/ranker/metadata").json()
    assert reply["model_spec"] == {"name": "ranker", "version": "5", "signature_name": ""}
    root = reply["metadata"]["signature_def"]["signature_def"]["root"]
    assert root["method_name"] == "tensorflow/serving/predict"
    assert root["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert root["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_health(toy: Any) -> None:
    assert toy.http.get("/healthz").status_code == 200
    assert toy.http.get("/readyz").status_code == 200


def test_requests_are_counted(toy: Any) -> None:
    toy.http.post(URL, content="{")
    page = toy.server.service.metrics.page().decode()
    assert (
        ':tensorflow:serving:request_count_total{model_name="ranker",status="INVALID_' in page
        or ('request_count{model_name="ranker",status="INVALID_ARGUMENT"}' in page)
    )


def test_a_large_request_does_not_block_others(toy: Any) -> None:
    """The body is not parsed on the event loop; the reply is the same."""
    x = [[float(i % 7) for i in range(5000)], [0.5] * 5000]
    reply = toy.http.post(URL, json={"inputs": {"x": x, "text": ["", "a"]}}).json()
    assert reply["outputs"]["y"] == [[2 * v for v in x[0]], [2.0] * 5000]


@pytest.mark.parametrize(
    "path", ["/V1/MODELS/ranker:PREDICT", "/v1/Models/ranker/Versions/5:Predict"]
)
def test_paths_ignore_case_and_names_do_not(toy: Any, path: str) -> None:
    body = {"signature_name": "root", "inputs": [4]}
    assert toy.http.post(path, json=body).json() == {"outputs": [2.0]}
    assert toy.http.post(path.replace("ranker", "Ranker"), json=body).status_code == 404


@pytest.mark.parametrize("path", ["/rank/", "/healthz/", "/monitoring/prometheus/metrics/"])
def test_no_reply_repeats_the_clients_host(toy: Any, path: str) -> None:
    reply = toy.http.get(path, headers={"host": "evil.example"})
    assert reply.status_code in (404, 405)
    assert "location" not in reply.headers
    assert "evil.example" not in reply.text


def test_nan_is_null_in_json() -> None:
    # TensorFlow Serving writes NaN, which JSON parsers need not accept.
    values = np.array([1.5, np.nan, np.inf, -np.inf], np.float32)
    assert write_tensors("inputs", {"y": values}) == b'{"outputs":[1.5,null,null,null]}'


@pytest.mark.parametrize("what", ["signature_name", "inputs", "top", "path"])
def test_a_huge_name_is_shortened_in_the_error(toy: Any, what: str) -> None:
    long = "x" * (60_000 if what == "path" else 1_000_000)
    body: dict[str, Any] = {"inputs": {"x": [[1]], "text": ["a"]}}
    path = URL
    if what == "signature_name":
        body["signature_name"] = long
    elif what == "inputs":
        body["inputs"] = {"text": ["a"], long: [[1]]}
    elif what == "top":
        body, path = {"candidates": ["a"], long: 1}, "/rank"
    else:
        path = f"/v1/models/{long}:predict"
    started = time.monotonic()
    reply = toy.http.post(path, json=body)
    assert time.monotonic() - started < 2
    assert 400 <= reply.status_code < 500
    assert len(reply.text) < 1500
