"""Deadlines, and a shutdown that lets requests finish."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

URL = "/v1/models/ranker:predict"
Start = Callable[..., Any]


@pytest.fixture
def base(toy_folder: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(toy_folder, tmp_path / "base" / "1")
    return tmp_path / "base"


def spin(count: int) -> dict[str, Any]:
    return {"signature_name": "spin", "inputs": [count]}


def spin_message(count: int) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ranker", "spin"
    request.inputs["n"].CopyFrom(tf.make_tensor_proto(np.array([count], np.int32)))
    return request


FOREVER = 2_000_000_000


def test_a_run_ends_with_its_deadline(base: pathlib.Path, serve: Start) -> None:
    running = serve(base, listen={"timeout_seconds": 0.3}, batching={"num_batch_threads": 1})
    reply = running.http.post(URL, json=spin(FOREVER))
    assert reply.status_code == 504
    assert "deadline" in reply.json()["error"]

    with pytest.raises(grpc.RpcError) as error:
        running.predictions.Predict(spin_message(FOREVER), timeout=20)  # the server's is earlier
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "deadline" in error.value.details()
    # The only thread is free again.
    assert running.http.post(URL, json=spin(3)).json() == {"outputs": [3]}


@pytest.mark.slow
def test_a_full_queue_returns_429(base: pathlib.Path, serve: Start) -> None:
    running = serve(
        base,
        # Long enough that no deadline frees a slot before all requests are sent.
        listen={"timeout_seconds": 15.0},
        batching={"num_batch_threads": 1, "max_batch_size": 1, "max_enqueued_batches": 2},
    )
    busy = running.server.service.servable()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(running.http.post, URL, json=spin(FOREVER)) for _ in range(3)]
        while busy.users < 3:  # one runs, two wait
            time.sleep(0.005)
        reply = running.http.post(URL, json=spin(1))
        assert reply.status_code == 429
        assert "queue is full" in reply.json()["error"]
        with pytest.raises(grpc.RpcError) as error:
            running.predictions.Predict(spin_message(1), timeout=20)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "queue is full" in error.value.details()
        assert {a.result().status_code for a in asked} == {504}
    assert running.http.post(URL, json=spin(1)).status_code == 200


def test_a_shutdown_waits_for_running_requests(base: pathlib.Path, serve: Start) -> None:
    running = serve(base, listen={"drain_seconds": 0.2})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        long = pool.submit(
            httpx.post, f"http://{running.address}{URL}", json=spin(100_000), timeout=60
        )
        busy = running.server.service.servable()
        while not busy.users:
            time.sleep(0.005)
        stopping = running.begin(running.server.stop())
        # Still answering, but reported as not ready for new requests.
        assert running.http.get("/readyz").status_code == 503
        assert running.http.post(URL, json=spin(1)).status_code == 200
        assert long.result().json() == {"outputs": [100_000]}
        stopping.result(60)
    with pytest.raises(httpx.TransportError):
        running.http.get("/readyz")


def test_the_command_serves_until_sigterm(base: pathlib.Path) -> None:
    command = [sys.executable, "-m", "mmrank.serve", "--model", str(base)]
    for option in ("listen.rest_port=0", "listen.grpc_port=0"):
        command += ["--set", option]
    env = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stderr is not None
            port = None
            for line in process.stderr:
                if "REST on http://127.0.0.1:" in line:
                    port = line.split("127.0.0.1:")[1].split("/")[0]
                    break
            assert port is not None
            reply = httpx.post(f"http://127.0.0.1:{port}{URL}", json=spin(7), timeout=60)
            assert reply.json() == {"outputs": [7]}
            process.send_signal(signal.SIGTERM)
            actual = process.stderr.read()
            assert process.wait(30) == 0, actual
            assert "shutting down" in actual
        finally:
            if process.poll() is None:
                process.kill()
