"""The whole server behind keys and TLS, and the content of its audit log afterwards."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
import trustme
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from mmrank.server.guard.audit import verify_audit
from mmrank.server.guard.keys import make_key

pytestmark = pytest.mark.slow  # the first request of a signature prepares its graph
PATIENCE = 240.0  # seconds
REGRESS = "tensorflow/serving/regress"
QUERY, USER = "very private words", "shopper-77"
RANK = {"query": QUERY, "user": USER, "candidates": ["P000001", "P000002"]}


@dataclasses.dataclass(frozen=True)
class Guarded:
    """A server, clients that trust its certificate, and a key for each role."""

    running: Any
    http: httpx.Client
    channel: grpc.Channel
    keys: dict[str, str]
    audit: pathlib.Path

    def rank(self, key: str | None) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return self.http.post("/rank", json=RANK, headers=headers)

    def regress(self, key: str | None) -> Any:
        """Scores two candidates over gRPC."""
        request = regression_pb2.RegressionRequest()
        request.model_spec.name, request.model_spec.signature_name = "ranker", REGRESS
        given = request.input.example_list_with_context
        for name, text in (("query", QUERY), ("user", USER)):
            given.context.features.feature[name].bytes_list.value.append(text.encode())
        for title in (b"red dress", b"blue mug"):
            given.examples.add().features.feature["title"].bytes_list.value.append(title)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        return stub.Regress(request, metadata=sent(key), timeout=PATIENCE)

    def reload(self, key: str | None) -> Any:
        """Gives the only version a label."""
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name="ranker")
        config.version_labels["stable"] = 1
        stub = model_service_pb2_grpc.ModelServiceStub(self.channel)
        return stub.HandleReloadConfigRequest(request, metadata=sent(key), timeout=PATIENCE)

    def lines(self, key: str, count: int) -> list[dict[str, Any]]:
        """The audit log's lines of a key; each line is written just before its reply."""
        end = time.monotonic() + 20
        while True:
            read = [json.loads(line) for line in self.audit.read_text("utf-8").splitlines()]
            actual = [line for line in read if line.get("key") == key.split("_")[1]]
            if len(actual) >= count:
                return actual
            assert time.monotonic() < end, read
            time.sleep(0.02)


def sent(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("x-api-key", key),)


def code(call: Callable[[str | None], Any], key: str | None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(key)
    return error.value.code(), error.value.details()


@pytest.fixture(scope="module")
def guarded(
    exported: pathlib.Path,
    serve_for_module: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    roles = {
        "rank": ["rank"],
        "metrics": ["metrics"],
        "admin": ["admin"],
        "both": ["rank", "admin"],
    }
    keys = {name: make_key(folder / "keys.json", name, given) for name, given in roles.items()}
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    pem = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (folder / "cert.pem").write_bytes(pem)
    running = serve_for_module(
        exported.parent,
        model={"warm_up": False},
        security={
            "keys": str(folder / "keys.json"),
            "certificate": str(folder / "cert.pem"),
            "private_key": str(folder / "key.pem"),
            "audit": str(folder / "audit.jsonl"),
        },
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    url = f"https://{running.address}"
    with (
        httpx.Client(base_url=url, verify=context, timeout=PATIENCE) as http,
        grpc.secure_channel(running.grpc_address, credentials) as channel,
    ):
        yield Guarded(running, http, channel, keys, folder / "audit.jsonl")


def test_requests_without_a_key_are_refused(guarded: Guarded) -> None:
    wrong = guarded.keys["rank"][:-1]
    for key, said in ((None, "an API key is needed"), (wrong, "the API key is wrong")):
        reply = guarded.rank(key)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert said in reply.json()["error"]
        actual, details = code(guarded.regress, key)
        assert actual == grpc.StatusCode.UNAUTHENTICATED
        assert said in details
    # Probes need no key.
    assert guarded.http.get("/readyz").status_code == 200


def test_connections_without_tls_are_refused(guarded: Guarded) -> None:
    key = guarded.keys["rank"]
    plain = guarded.running.http  # http://
    with pytest.raises(httpx.TransportError):
        plain.post("/rank", json=RANK, headers={"authorization": f"Bearer {key}"})
    bare = dataclasses.replace(guarded, channel=guarded.running.channel)
    assert code(bare.regress, key)[0] == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE"):  # signed by an unknown authority
        httpx.get(f"https://{guarded.running.address}/readyz")


def test_a_key_with_the_role_is_accepted(guarded: Guarded) -> None:
    reply = guarded.rank(guarded.keys["rank"])
    assert reply.status_code == 200, reply.text
    assert {position["item"] for position in reply.json()["ranked"]} == set(RANK["candidates"])
    assert len(guarded.regress(guarded.keys["rank"]).result.regressions) == 2


def test_a_key_with_another_role_is_refused(guarded: Guarded) -> None:
    denied = grpc.StatusCode.PERMISSION_DENIED
    for name in ("metrics", "admin"):
        key = guarded.keys[name]
        reply = guarded.rank(key)
        assert reply.status_code == 403
        said = f"the API key {key.split('_')[1]} may not do this, which needs the role rank"
        assert reply.json()["error"] == said
        assert code(guarded.regress, key) == (denied, said)
    actual, said = code(guarded.reload, guarded.keys["rank"])
    assert actual == denied
    assert "which needs the role admin" in said


def test_the_audit_log(guarded: Guarded) -> None:
    key = guarded.keys["both"]
    assert guarded.rank(key).status_code == 200
    guarded.regress(key)
    guarded.reload(key)
    assert guarded.http.post("/v1/models/ranker/labels/stable:predict", json={}).status_code == 401
    by_label = guarded.http.get("/v1/models/ranker/labels/stable", headers=dict(sent(key)))
    assert by_label.json()["model_version_status"][0]["version"] == "1"

    rank, regress, reload, status = guarded.lines(key, 4)
    common = {"owner": "both", "peer": "127.0.0.1", "key": key.split("_")[1]}
    for line in (rank, regress, reload, status):
        assert line.items() >= common.items()
        assert line["time"]
        assert line["request"]
        assert line["milliseconds"] >= 0
    assert (rank["action"], rank["target"], rank["status"]) == ("rank", "/rank", 200)
    assert (rank["version"], rank["candidates"]) == (1, 2)
    assert rank["query_characters"] == len(QUERY)
    assert (regress["action"], regress["status"]) == ("predict", "OK")
    assert regress["target"] == "/tensorflow.serving.PredictionService/Regress"
    assert (regress["version"], regress["signature"]) == (1, REGRESS)
    assert (regress["lists"], regress["candidates"]) == (2, 2)
    assert (reload["action"], reload["status"]) == ("reload", "OK")
    assert reload["target"] == "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    assert (status["action"], status["status"]) == ("status", 200)

    text = guarded.audit.read_text("utf-8")
    for secret in (QUERY, USER, key, key.split("_", 2)[2]):
        assert secret not in text
    count, chain = verify_audit(guarded.audit)
    last = json.loads(text.splitlines()[-1])
    assert (count, chain) == (len(text.splitlines()), last["chain"])
