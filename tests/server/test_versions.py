"""Versions that appear, break, change and disappear while the server keeps answering."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_management_pb2, predict_pb2, prediction_log_pb2

from mmrank.config import ConfigError
from mmrank.outputs import UserError
from mmrank.server import manager
from mmrank.server.loading import load_version
from mmrank.server.machine import NICE
from mmrank.server.servable import Servable
from mmrank.server.versions import Model, check_model
from mmrank.serving.checksums import write_checksums

X = np.array([[1.0]], np.float32)
Start = Callable[..., Any]


@pytest.fixture
def base(toy_folder: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the toy of factor 2 as version 1."""
    shutil.copytree(toy_folder, tmp_path / "base" / "1")
    return tmp_path / "base"


def answer(running: Any, **spec: Any) -> tuple[int, float]:
    """The version that answers, and its factor, computed from the toy's answer to 1."""
    inputs = {"x": X, "text": np.array([b""], object)}
    number, outputs = running.call(running.server.service.run("", inputs, **spec))
    return number, float(outputs["y"][0, 0])


def look(running: Any) -> dict[int, tuple[str, str]]:
    """The state and the error of every version, after the server checked the folder."""
    running.call(running.server.service.refresh())
    return states(running)


def states(running: Any) -> dict[int, tuple[str, str]]:
    reply = running.http.get("/v1/models/ranker").json()["model_version_status"]
    return {int(s["version"]): (s["state"], s["status"]["error_message"]) for s in reply}


def settled(running: Any, wanted: dict[int, str]) -> bool:
    """Waits until the versions have these states; fails after two minutes, for busy machines."""
    end = time.monotonic() + 120
    while (now := {n: s for n, (s, _) in states(running).items()}) != wanted:
        if time.monotonic() > end:
            pytest.fail(f"{now}, not {wanted}")
        time.sleep(0.02)
    return True


def test_a_new_version_takes_over_without_a_failed_request(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base, model={"poll_seconds": 0.05})
    stop, seen, wrong = threading.Event(), [], []

    def ask() -> None:
        body = {"inputs": {"x": [[1.0]], "text": [""]}}
        while not stop.is_set():
            reply = running.http.post("/v1/models/ranker:predict", json=body)
            if reply.status_code == 200:
                seen.append(reply.json()["outputs"]["y"])
            else:
                wrong.append(reply.text)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        # A rename makes it appear complete, as an export does.
        shutil.copytree(other_toy_folder, base / ".partial")
        (base / ".partial").rename(base / "2")
        settled(running, {1: "END", 2: "AVAILABLE"})
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not wrong
    assert answer(running) == (2, 3.0)
    assert {y for ((y,),) in seen} <= {2.0, 3.0}
    first = next((i for i, y in enumerate(seen) if y == [[3.0]]), len(seen))
    assert first > 0
    reply = running.http.get("/v1/models/ranker/versions/1")
    assert reply.json()["model_version_status"][0]["state"] == "END"


def test_a_version_in_use_is_kept_until_it_is_released(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base)
    service = running.server.service
    loaded, gone = [], []
    service.on_load(lambda servable: loaded.append(servable.number))
    service.on_unload(lambda servable: gone.append(servable.number))
    inputs = {"x": X, "text": np.array([b""], object)}

    async def scene() -> list[Any]:
        with service.hold() as old:
            shutil.copytree(other_toy_folder, base / "2")
            await service.refresh()
            before = [s.state for s in service.status("ranker")]
            answers = [await service.run_on(old, "", inputs), (await service.run("", inputs))[1]]
        return [before, *(float(a["y"][0, 0]) for a in answers)]

    assert running.call(scene()) == [["AVAILABLE", "UNLOADING"], 2.0, 3.0]
    settled(running, {1: "END", 2: "AVAILABLE"})
    assert (loaded, gone) == ([2], [1])


def test_a_broken_version_is_refused_and_tried_again_once_it_changes(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base)
    # An incomplete copy: the graph exists, its weights do not.
    (base / "2").mkdir()
    shutil.copy(other_toy_folder / "saved_model.pb", base / "2")
    seen = look(running)
    assert seen[1] == ("AVAILABLE", "")
    assert seen[2][0] == "END"
    assert "variables" in seen[2][1]
    assert answer(running) == (1, 2.0)
    reply = running.http.get("/v1/models/ranker/versions/2").json()["model_version_status"][0]
    assert reply["status"]["error_code"] == "UNKNOWN"

    shutil.copytree(other_toy_folder, base / "2", dirs_exist_ok=True)
    assert look(running)[2] == ("AVAILABLE", "")
    assert answer(running) == (2, 3.0)


@pytest.mark.parametrize("what", ["empty", "graph", "checksum", "no list"])
def test_a_half_written_version_is_not_served(
    what: str, base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    write_checksums_of(base / "1")
    running = serve(base, model={"checksums": "required" if what == "no list" else "auto"})
    shutil.copytree(other_toy_folder, base / "2")
    if what == "empty":
        shutil.rmtree(base / "2")
        (base / "2").mkdir()
    elif what == "graph":
        data = (base / "2" / "saved_model.pb").read_bytes()
        (base / "2" / "saved_model.pb").write_bytes(data[: len(data) // 2])
    elif what == "checksum":
        write_checksums_of(base / "2")
        index = base / "2" / "variables" / "variables.index"
        index.write_bytes(index.read_bytes()[:-1] + b"\0")
    seen = look(running)
    assert seen[2][0] == "END"
    assert seen[2][1]
    assert answer(running) == (1, 2.0)


def write_checksums_of(folder: pathlib.Path) -> None:
    (folder / "assets.extra").mkdir(exist_ok=True)
    write_checksums(folder)


def warm_up(folder: pathlib.Path, *texts: bytes) -> None:
    """Writes warm-up requests to a version of the toy."""
    (folder / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "assets.extra/tf_serving_warmup_requests")) as out:
        for text in texts:
            out.write(text)


def record(x: list[Any]) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "root"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return bytes(log.SerializeToString())


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([record([1.0]), record([2.0, 3.0])], ""),
        ([record([1.0]), record([-1.0])], "x is below 0"),
        ([b"\xff\xff"], "Error parsing"),
        ([record([[1.0]])], "expected float32"),
        ([record([1.0])] * 1001, "more than 1000"),
    ],
)
def test_one_bad_warm_up_record_refuses_a_version(
    records: list[bytes],
    said: str,
    base: pathlib.Path,
    other_toy_folder: pathlib.Path,
    serve: Start,
) -> None:
    running = serve(base)
    shutil.copytree(other_toy_folder, base / "2")
    warm_up(base / "2", *records)
    state, error = look(running)[2]
    assert (state == "AVAILABLE") == (said == "")
    assert said in error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have no priority there")
def test_only_a_second_version_loads_at_low_priority(
    base: pathlib.Path,
    other_toy_folder: pathlib.Path,
    serve: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def load(*args: Any) -> Any:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return load_version(*args)

    monkeypatch.setattr(manager, "load_version", load)
    running = serve(base)
    shutil.copytree(other_toy_folder, base / "2")
    assert look(running)[2][0] == "AVAILABLE"
    assert seen == [os.getpriority(os.PRIO_PROCESS, 0), NICE]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have no priority there")
def test_a_version_that_waited_too_long_gets_normal_priority(
    base: pathlib.Path,
    other_toy_folder: pathlib.Path,
    serve: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager, "PATIENCE", 0.0)
    running = serve(base)  # the first version is always loaded at high priority
    seen = []

    def note(servable: Any) -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    running.server.service.on_load(note)
    shutil.copytree(other_toy_folder, base / "2")
    warm_up(base / "2", record([1.0]))
    assert look(running)[2][0] == "AVAILABLE"
    assert seen == [os.getpriority(os.PRIO_PROCESS, 0)]


def test_a_failing_load_callback_refuses_the_version(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base)

    def fail(servable: Any) -> None:
        raise ValueError(f"no vectors of version {servable.number}")

    running.server.service.on_load(fail)
    shutil.copytree(other_toy_folder, base / "2")
    assert look(running)[2] == ("END", "no vectors of version 2")
    assert answer(running) == (1, 2.0)


def test_the_newest_working_version_is_served_and_its_removal_rolls_back(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    shutil.copytree(other_toy_folder, base / "2")
    (base / "3").mkdir()
    running = serve(base)
    assert answer(running) == (2, 3.0)
    shutil.rmtree(base / "2")
    look(running)
    assert answer(running) == (1, 2.0)
    # The last version stays loaded, whatever happens to its folder.
    shutil.rmtree(base / "1")
    look(running)
    assert answer(running) == (1, 2.0)


def test_labels_and_a_canary(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    shutil.copytree(other_toy_folder, base / "2")
    running = serve(base, model={"specific": [1], "labels": {"stable": 1}})
    assert answer(running) == (1, 2.0)

    def ask(policy: list[int], **labels: int) -> None:
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name="ranker")
        config.model_version_policy.specific.versions[:] = policy
        for label, number in labels.items():
            config.version_labels[label] = number
        running.models.HandleReloadConfigRequest(request, timeout=20)

    ask([1, 2], stable=1, canary=2)
    assert answer(running, label="stable") == (1, 2.0)
    assert answer(running, label="canary") == (2, 3.0)
    with pytest.raises(grpc.RpcError) as error:
        ask([1], stable=1, canary=7)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert answer(running, label="canary") == (2, 3.0)
    ask([2], stable=2)
    settled(running, {1: "END", 2: "AVAILABLE"})
    assert answer(running, label="stable") == (2, 3.0)


def test_a_start_without_a_usable_version_fails(tmp_path: pathlib.Path, serve: Start) -> None:
    with pytest.raises(UserError, match="no numbered version; export a run"):
        serve(tmp_path)
    (tmp_path / "4").mkdir()
    with pytest.raises(UserError, match="no version can be served: 4: .*no saved_model.pb"):
        serve(tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "name the folder of the numbered exports with --model"),
        ({"path": "missing"}, "no such folder"),
        ({"path": "base/1"}, "name its parent folder"),
        ({"path": "base", "latest": 0}, "at least 1"),
        ({"path": "base", "name": "a/b"}, "without / and :"),
        ({"path": "base", "labels": {"stable": "x"}}, "expected a version"),
        ({"path": "base", "checksums": "maybe"}, "choose one of auto, required, off"),
    ],
)
def test_wrong_options_are_refused(
    model: dict[str, Any], said: str, base: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    with pytest.raises(ConfigError, match=said):
        check_model(Model(**model))


def test_versions_that_the_policy_selects() -> None:
    there = [1, 2, 3, 10]
    assert Model().wanted(there) == [10]
    assert Model(latest=2).wanted(there) == [3, 10]
    assert Model(specific=(2, 9)).wanted(there) == [2]
    assert Model(labels={"stable": 1}).wanted(there) == [1, 10]
    assert Model().wanted([]) == []


def test_a_slow_copy_is_not_an_error_and_serves_when_complete(
    base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base, model={"poll_seconds": 0.1})
    files = [f for f in sorted(other_toy_folder.rglob("*")) if f.is_file()]
    for file in files:  # the graph comes before its weights
        copied = base / "2" / file.relative_to(other_toy_folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        data = file.read_bytes()
        with copied.open("wb", buffering=0) as out:
            for part in range(12):
                out.write(data[len(data) * part // 12 : len(data) * (part + 1) // 12])
                time.sleep(0.02)
    settled(running, {1: "END", 2: "AVAILABLE"})
    text = running.http.get("/monitoring/prometheus/metrics").text
    failed = [line for line in text.splitlines() if "load_attempt" in line and "fail" in line]
    assert failed == []


def test_a_version_that_changes_while_it_fails_is_still_written_to(
    base: pathlib.Path, serve: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(base)
    (base / "2").mkdir()
    (base / "2" / "saved_model.pb").write_bytes(b"half")

    def load(number: int, folder: pathlib.Path, *args: Any) -> Any:
        if number == 2:
            (folder / "saved_model.pb").write_bytes(b"a little more")
        return load_version(number, folder, *args)

    monkeypatch.setattr(manager, "load_version", load)
    (state, _) = look(running)[2]
    assert state == "START"
    status = running.call(states_of(running))
    assert status == "its files are still written to"
    assert answer(running) == (1, 2.0)


async def states_of(running: Any) -> str:
    return str(running.server.service._manager.status[2].message)


def logged(kind: str) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, kind).request
    request.model_spec.signature_name = "root"
    request.input.example_list.examples.add()
    return bytes(log.SerializeToString())


@pytest.mark.parametrize("kind", ["regress_log", "classify_log"])
def test_warm_up_examples_need_a_signature_of_examples(
    kind: str, base: pathlib.Path, other_toy_folder: pathlib.Path, serve: Start
) -> None:
    running = serve(base)
    shutil.copytree(other_toy_folder, base / "2")
    warm_up(base / "2", logged(kind))
    state, error = look(running)[2]
    assert state == "END"
    assert "which " + ("regress" if kind == "regress_log" else "classify") in error


def test_regress_examples_warm_a_version_up(tmp_path: pathlib.Path) -> None:
    class Length(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"outputs": tf.cast(tf.strings.length(inputs), tf.float32)}

    module = Length()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"root": module.regress})
    warm_up(tmp_path / "1", logged("regress_log"), logged("regress_log"))
    servable = Servable.load(1, tmp_path / "1")
    steps = []
    assert servable.warm_up(run=lambda step: steps.append(step())) == 2
    assert [step["outputs"].tolist() for step in steps] == [[0.0], [0.0]]
    warm_up(tmp_path / "1", prediction_log_pb2.PredictionLog().SerializeToString())
    with pytest.raises(
        ValueError, match="record 0 is empty; only requests of Predict, Regress and"
    ):
        servable.warm_up()
    servable.close()
