"""The guard in front of a small application: keys, sizes, slow clients, and records."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from mmrank.server.guard.asgi import PART_BYTES, GuardMiddleware
from mmrank.server.guard.audit import note, verify_audit
from mmrank.server.guard.guard import Guard
from mmrank.server.guard.keys import make_key
from mmrank.server.guard.options import Limits, Security


async def echo(request: Request) -> JSONResponse:
    note(candidates=7)
    return JSONResponse({"bytes": len(await request.body())})


async def fails(request: Request) -> JSONResponse:
    raise RuntimeError("nobody foresaw it")


APP = Starlette(
    routes=[
        Route("/rank", echo, methods=["POST"]),
        Route("/v1/models/m:predict", fails, methods=["POST"]),
        Route("/healthz", echo, methods=["GET"]),
    ]
)


def ask(guard: Guard, method: str = "POST", path: str = "/rank", **more: object) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(GuardMiddleware(APP, guard), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **more)  # type: ignore[arg-type]

    return asyncio.run(go())


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "keys.json"


def test_a_key_comes_as_a_bearer_token_or_a_header_of_its_own(file: pathlib.Path) -> None:
    key = make_key(file, "shop", ["rank"])
    guard = Guard(Limits(), Security(keys=str(file)))
    for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
        reply = ask(guard, content=b"abc", headers=headers)
        assert (reply.status_code, reply.json()) == (200, {"bytes": 3})
    reply = ask(guard, content=b"abc")
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert reply.json()["error"].startswith("an API key is needed")
    for sent in ("Bearer", "Bearer mmr_x_y", "Basic abc", f"Basic {key}"):
        assert ask(guard, headers={"Authorization": sent}).status_code == 401
    assert ask(guard, "GET", "/healthz").status_code == 200
    assert ask(guard, "GET", "/secret", headers={"x-api-key": key}).status_code == 403


def test_bodies_are_limited_whatever_their_headers_say() -> None:
    guard = Guard(Limits(request_bytes=10), Security())

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b"xx"

    assert ask(guard, content=b"x" * 10).json() == {"bytes": 10}
    for content in (b"x" * 11, parts()):
        reply = ask(guard, content=content)
        assert reply.status_code == 413
        assert "the body is larger than" in reply.json()["error"]
    assert ask(guard, content=b"", headers={"content-length": "9" * 30}).status_code == 413


def test_a_body_must_arrive_in_time() -> None:
    async def drops() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    reply = ask(Guard(Limits(request_seconds=0.05), Security()), content=drops())
    assert reply.status_code == 408
    assert reply.json() == {"error": "the body did not arrive within 0.05 s"}


def test_a_client_over_its_rate_gets_retry_after() -> None:
    guard = Guard(Limits(rate="1/hour"), Security())
    assert ask(guard).status_code == 200
    reply = ask(guard)
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1


def test_every_request_is_recorded(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    key = make_key(file, "shop", ["rank"])
    log = tmp_path / "audit"
    guard = Guard(Limits(), Security(keys=str(file), audit=str(log)))
    ask(guard, headers={"x-api-key": key})
    ask(guard)
    ask(guard, path="/v1/models/m:predict", headers={"x-api-key": key})
    guard.close()
    read = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()][1:]
    actual = [(r["action"], r["owner"], r["status"], r.get("candidates")) for r in read]
    assert actual == [
        ("rank", "shop", 200, 7),
        ("rank", None, 401, None),
        ("predict", "shop", 500, None),
    ]
    assert read[0]["key"] == key.split("_")[1]
    assert key not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("policy", ["refuse", "report"])
def test_a_full_disk_refuses_or_reports(
    policy: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = tmp_path / "audit"
    guard = Guard(Limits(), Security(audit=str(log), audit_failure=policy))
    assert ask(guard).status_code == 200

    def full(stream: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mmrank.server.guard.audit.os.write", full)
        for _ in range(2):
            reply = ask(guard)
            assert reply.status_code == (503 if policy == "refuse" else 200)
            if policy == "refuse":
                assert "the audit log cannot be written" in reply.json()["error"]
                assert int(reply.headers["retry-after"]) >= 1
        assert ask(guard, "GET", "/healthz").status_code == 200
        actual = [r for r in caplog.records if "No space left" in r.getMessage()]
        assert len(actual) == 1
    assert ask(guard).status_code == 200
    guard.close()
    verify_audit(log)
    assert any("lost" in json.loads(line) for line in log.read_text("utf-8").splitlines())


def test_gzipped_bodies_are_unpacked_within_the_limit() -> None:
    guard = Guard(Limits(request_bytes=1000), Security())
    headers = {"content-encoding": "gzip"}
    whole = gzip.compress(b"x" * 1000)
    assert ask(guard, content=whole, headers=headers).json() == {"bytes": 1000}
    two = gzip.compress(b"x" * 500) + gzip.compress(b"y" * 499)
    assert ask(guard, content=two, headers=headers).json() == {"bytes": 999}
    assert ask(guard, content=b"", headers=headers).json() == {"bytes": 0}
    for bomb in (gzip.compress(b"x" * 10**6)[:1000], two + gzip.compress(b"yy")):
        assert ask(guard, content=bomb, headers=headers).status_code == 413
    for bad in (whole[:-9], whole + b"junk", b"no gzip"):
        reply = ask(guard, content=bad, headers=headers)
        assert reply.status_code == 400
        assert "gzip" in reply.json()["error"]
    reply = ask(guard, content=b"x", headers={"content-encoding": "br"})
    assert reply.status_code == 415
    assert "send gzip, or none" in reply.json()["error"]


def test_the_memory_of_json_is_limited() -> None:
    guard = Guard(Limits(request_megabytes=10), Security())
    assert ask(guard, content=b"[" + b"1," * 50_000 + b"1]").status_code == 200
    reply = ask(guard, content=b"[" + b"[]," * 200_000 + b"1]")
    assert reply.status_code == 400
    assert "would take 23 MiB of memory; the most is 10" in reply.json()["error"]
    few = Guard(Limits(request_values=50_000), Security())
    assert ask(few, content=b"[" + b"1," * 49_000 + b"1]").status_code == 200
    reply = ask(few, content=b"[" + b"1," * 50_001 + b"1]")
    assert reply.status_code == 400
    assert "50,002 values in the JSON of one request; the most is 50,000" in reply.json()["error"]
    crowded = Guard(Limits(memory_megabytes=1), Security())
    with crowded.memory.request() as hold:
        hold(2**20 - 10)
        assert ask(crowded, content=b"x" * 20).status_code == 429
    assert ask(crowded, content=b"x" * 20).status_code == 200


@pytest.mark.parametrize(
    ("version", "hosts", "wanted"),
    [("1.1", 1, 200), ("1.1", 0, 400), ("1.1", 2, 400), ("1.0", 0, 200), ("1.0", 2, 400)],
)
def test_a_request_needs_exactly_one_host_header(version: str, hosts: int, wanted: int) -> None:
    scope = {
        "type": "http",
        "http_version": version,
        "method": "GET",
        "path": "/healthz",
        "query_string": b"",
        "headers": [(b"host", b"x")] * hosts,
    }
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: object) -> None:
        sent.append(dict(message))  # type: ignore[call-overload]

    asyncio.run(GuardMiddleware(APP, Guard(Limits(), Security()))(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == wanted


def test_a_large_reply_is_sent_in_parts_that_count_as_memory() -> None:
    guard = Guard(Limits(), Security())
    text = "x" * (2 * PART_BYTES + 3)
    held: list[int] = []
    parts: list[tuple[int, bool]] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(text)(scope, receive, send)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            held.append(guard.memory.held)
            parts.append((len(message["body"]), message.get("more_body", False)))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "headers": [(b"host", b"here")],
        "http_version": "1.1",
    }
    asyncio.run(GuardMiddleware(answer, guard)(scope, receive, send))
    assert parts == [(PART_BYTES, True), (PART_BYTES, True), (3, False)]
    assert held == [len(text)] * 3
    assert guard.memory.held == 0
