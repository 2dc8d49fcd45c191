"""The guard in front of gRPC calls, on a real server with one method."""

from __future__ import annotations

import asyncio
import errno
import json
import pathlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from mmrank.server.guard.audit import verify_audit
from mmrank.server.guard.grpc_guard import GuardInterceptor, grpc_options
from mmrank.server.guard.guard import Guard
from mmrank.server.guard.keys import make_key
from mmrank.server.guard.options import Limits, Security

Call = Callable[..., Any]


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    async def Predict(self, request: Any, context: Any) -> Any:
        if request.model_spec.name == "none":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        if request.model_spec.name == "slow":
            await asyncio.sleep(1.0)
        return predict_pb2.PredictResponse(model_spec=request.model_spec)


def ask(guard: Guard, *calls: dict[str, Any], at_once: bool = False) -> list[Any]:
    """The replies to some calls, or their errors."""

    async def go() -> list[Any]:
        options = grpc_options(guard.limits)
        server = grpc.aio.server(interceptors=[GuardInterceptor(guard)], options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            async def reply(call: dict[str, Any]) -> Any:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = call.get("name", "m")
                method = getattr(stub, call.get("method", "Predict"))
                if "raw" in call:
                    method = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                    request = call["raw"]
                try:
                    return await method(request, metadata=call.get("metadata"))
                except grpc.aio.AioRpcError as error:
                    return error

            if at_once:
                replies = await asyncio.gather(*map(reply, calls))
            else:
                replies = [await reply(call) for call in calls]
        await server.stop(None)
        return replies

    return asyncio.run(go())


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "keys.json"


def test_keys_roles_and_the_audit_log(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    key, other = make_key(file, "shop", ["rank"]), make_key(file, "prometheus", ["metrics"])
    log = tmp_path / "audit"
    guard = Guard(Limits(), Security(keys=str(file), audit=str(log)))
    right = (("authorization", f"Bearer {key}"),)
    replies = ask(
        guard,
        {"metadata": right},
        {"metadata": (("x-api-key", key),)},
        {},
        {"metadata": (("x-api-key", other),)},
        {"metadata": right, "name": "none"},
    )
    guard.close()
    assert replies[0].model_spec.name == "m"
    codes = [r.code().name for r in replies[2:]]
    assert codes == ["UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"]
    assert "needs the role rank" in replies[3].details()
    read = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()][1:]
    assert [r["status"] for r in read] == ["OK", "OK", *codes]
    assert [r["owner"] for r in read] == ["shop", "shop", None, None, "shop"]
    assert read[0]["target"] == "/tensorflow.serving.PredictionService/Predict"
    assert read[0]["peer"] == "127.0.0.1"


def test_rates_and_sizes(file: pathlib.Path) -> None:
    guard = Guard(Limits(rate="1/hour", request_bytes=200), Security())
    small, again = ask(guard, {}, {})
    assert small.model_spec.name == "m"
    assert again.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(again.trailing_metadata())["retry-after"]) >= 1
    (large,) = ask(guard, {"name": "m" * 300})
    assert large.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in large.details()


def test_a_malformed_message_is_a_client_error() -> None:
    (reply,) = ask(Guard(Limits(), Security()), {"raw": b"\xff\xff"})
    assert reply.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reply.details().startswith("not a request of this method")


def test_concurrent_calls_are_limited() -> None:
    guard = Guard(Limits(connections=1), Security())
    replies = ask(guard, {"name": "slow"}, {"name": "slow"}, at_once=True)
    (refused,) = (r for r in replies if isinstance(r, grpc.aio.AioRpcError))
    assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.details() == "too many calls at once; try again later"
    (served,) = ask(guard, {})
    assert served.model_spec.name == "m"


def test_an_unknown_method_needs_no_guard() -> None:
    (reply,) = ask(Guard(Limits(), Security()), {"method": "GetModelMetadata"})
    assert reply.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("policy", ["refuse", "report"])
def test_a_full_disk_refuses_or_reports(
    policy: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit"
    guard = Guard(Limits(), Security(audit=str(log), audit_failure=policy))

    def full(stream: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mmrank.server.guard.audit.os.write", full)
        replies = ask(guard, {}, {})
    if policy == "refuse":
        assert [r.code().name for r in replies] == ["UNAVAILABLE"] * 2
        assert "the audit log cannot be written" in replies[0].details()
    else:
        assert [r.model_spec.name for r in replies] == ["m", "m"]
    (reply,) = ask(guard, {})
    assert reply.model_spec.name == "m"
    guard.close()
    verify_audit(log)
    assert any("lost" in json.loads(line) for line in log.read_text("utf-8").splitlines())


def test_all_calls_share_their_memory() -> None:
    guard = Guard(Limits(memory_megabytes=1), Security())
    with guard.memory.request() as hold:
        hold(2**20)
        (reply,) = ask(guard, {})
    assert reply.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "use all of the 1 MiB" in reply.details()
    assert ask(guard, {})[0].model_spec.name == "m"


@pytest.mark.parametrize("raw", [b"\x12\x00" * 2000, b"\x1a\x01a" * 2000])
def test_names_of_a_request_are_counted_before_it_is_parsed(raw: bytes) -> None:
    (reply,) = ask(Guard(Limits(), Security()), {"raw": raw})
    assert reply.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "more than 1,000 parts in one message" in reply.details()
