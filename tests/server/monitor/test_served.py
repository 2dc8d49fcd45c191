"""The small ranker served: its metrics page after requests over REST and gRPC."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2

from mmrank.server.monitor.logs import HEADER
from mmrank.server.monitor.metrics import PATH
from mmrank.server.proto_tensors import to_proto

Samples = Callable[..., float]


@pytest.fixture
def sample(running: Any) -> Samples:
    """A function for the value of one sample of the metrics page; 0 where it is missing."""

    def read(name: str, **labels: str) -> float:
        page = running.http.get(PATH).text
        for family in text_string_to_metric_families(page):
            for one in family.samples:
                if one.name == name and labels.items() <= one.labels.items():
                    return float(one.value)
        return 0.0

    return read


def columnar(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: value.tolist() for name, value in inputs.items()}


def test_rest_requests_are_counted(
    running: Any, sample: Samples, id_request: Mapping[str, np.ndarray]
) -> None:
    name = running.server.service.name
    before = sample(":tensorflow:serving:request_count", model_name=name, status="OK")
    body = {"signature_name": "rank_items", "inputs": columnar(id_request)}
    url = f"/v1/models/{name}:predict"
    reply = running.http.post(url, json=body, headers={HEADER: "mine"})
    assert reply.status_code == 200, reply.text
    assert reply.headers[HEADER] == "mine"
    after = sample(":tensorflow:serving:request_count", model_name=name, status="OK")
    assert after == before + 1
    latency = ":tensorflow:serving:request_latency_count"
    assert sample(latency, model_name=name, API="predict", entrypoint="REST") >= 1
    assert sample(":tensorflow:serving:runtime_latency_count", model_name=name) >= 1
    wrong = running.http.post(url, json={"inputs": {}})
    assert wrong.status_code == 400
    refused = sample(":tensorflow:serving:request_count", status="INVALID_ARGUMENT")
    assert refused >= 1


def test_grpc_requests_are_counted(
    running: Any, sample: Samples, id_request: Mapping[str, np.ndarray]
) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = running.server.service.name
    request.model_spec.signature_name = "rank_items"
    metadata = running.http.get(f"/v1/models/{request.model_spec.name}/metadata").json()
    definition = metadata["metadata"]["signature_def"]["signature_def"]["rank_items"]
    for name, value in id_request.items():
        texts = definition["inputs"][name]["dtype"] == "DT_STRING"
        flags = definition["inputs"][name]["dtype"] == "DT_BOOL"
        dtype = object if texts else bool if flags else np.float32
        request.inputs[name].CopyFrom(to_proto(value.astype(dtype)))
    call = running.predictions.Predict.with_call(request, timeout=30, metadata=((HEADER, "m2"),))
    assert dict(call[1].trailing_metadata())[HEADER] == "m2"
    latency = ":tensorflow:serving:request_latency_count"
    assert sample(latency, API="Predict", entrypoint="GRPC") >= 1


def test_scores_and_features_are_counted(
    running: Any, sample: Samples, id_request: Mapping[str, np.ndarray]
) -> None:
    candidates = int((id_request["items"] != "").sum())
    before = sample("mmrank_score_count")
    body = {"signature_name": "rank_items", "inputs": columnar(id_request)}
    running.http.post(f"/v1/models/{running.server.service.name}:predict", json=body)
    assert sample("mmrank_score_count") == before + candidates
    assert sample("mmrank_feature_present_total", feature="query", present="true") >= 1
    assert sample("mmrank_feature_values_total", feature="query", measure="script") >= 0
    assert sample("mmrank_feature_window_requests", feature="query") >= 1
    assert sample("mmrank_feature_window_requests", feature="history") >= 1


def test_metrics_of_the_version_and_the_process(running: Any, sample: Samples) -> None:
    assert sample("mmrank_model_version_state", state="AVAILABLE") == 1
    assert sample(":tensorflow:cc:saved_model:load_attempt_count", status="success") == 1
    assert sample("process_resident_memory_bytes") > 1e7


def test_probes_show_the_state_of_the_version(running: Any, exported: pathlib.Path) -> None:
    status = running.http.get(f"/v1/models/{running.server.service.name}").json()
    (version,) = status["model_version_status"]
    assert version["state"] == "AVAILABLE"
    assert version["version"] == exported.name
    assert json.dumps(status)
