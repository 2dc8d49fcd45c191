"""Log lines parsed as JSON, from an ASGI application and a gRPC server defined here."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mmrank.server.monitor.logs import (
    HEADER,
    RequestLog,
    RequestLogInterceptor,
    request_id,
    write_json,
)
from mmrank.server.monitor.metrics import PATH, Metrics
from mmrank.server.monitor.page import metrics_route


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The stream of the logs; the process's own logging is restored afterwards."""
    root = logging.getLogger()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    names = ("mmrank", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [root, *map(logging.getLogger, names)]
    kept = [(g, g.handlers[:], g.level, g.propagate, g.disabled) for g in loggers]
    written = io.StringIO()
    write_json("info", written)
    yield written
    structlog.reset_defaults()
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for logger, handlers, level, propagate, disabled in kept:
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def client(every: bool = True) -> TestClient:
    def hello(request: Request) -> PlainTextResponse:
        logging.getLogger("mmrank.somewhere").warning("met %s", "trouble")
        return PlainTextResponse("hello")

    routes = [Route("/hello", hello), metrics_route(Metrics())]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestLog, every=every)]))


def test_every_line_of_a_request_has_its_id(stream: io.StringIO) -> None:
    reply = client().get("/hello?secret=1", headers={HEADER: "abc-1"})
    assert reply.headers[HEADER] == "abc-1"
    trouble, request = (line for line in lines(stream) if line["logger"].startswith("mmrank"))
    assert trouble["event"] == "met trouble"
    assert trouble["level"] == "warning"
    assert request["event"] == "request"
    assert (request["path"], request["status"]) == ("/hello", 200)
    assert {trouble["request_id"], request["request_id"]} == {"abc-1"}
    assert "secret" not in json.dumps([trouble, request])


@pytest.mark.parametrize("given", [None, "", "two words", 'a"b', "x" * 65, "a\nb"])
def test_an_unusable_request_id_is_replaced(given: str | None) -> None:
    made = request_id(given)
    assert made != given
    assert len(made) == 32
    assert request_id(made) == made


def test_without_request_logs_only_errors_are_written(stream: io.StringIO) -> None:
    shy = client(every=False)
    shy.get("/hello")
    shy.get("/nowhere")
    assert [line["status"] for line in lines(stream) if line["event"] == "request"] == [404]


def test_an_exception_is_logged_as_an_object_without_its_message(stream: io.StringIO) -> None:
    private = "what somebody looks for"
    try:
        raise ValueError(f"odd, of length {len(private)}")
    except ValueError:
        logging.getLogger("elsewhere").exception("failed")
    (line,) = lines(stream)
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert private not in stream.getvalue()


def test_the_metrics_page() -> None:
    reply = client().get(PATH)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "process_resident_memory_bytes" in reply.text


class Echo(grpc.GenericRpcHandler):
    """Two methods on bytes: one replies, one refuses."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            if call.method.endswith("Refuse"):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


def test_grpc_requests(stream: io.StringIO) -> None:
    async def talk() -> tuple[bytes, dict[str, str], grpc.StatusCode]:
        server = grpc.aio.server(interceptors=[RequestLogInterceptor()])
        server.add_generic_rpc_handlers([Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.unary_unary("/x/Say")(b"hi", metadata=((HEADER, "abc-2"),))
                said, trailing = await call, dict(await call.trailing_metadata())
                refused = channel.unary_unary("/x/Refuse")(b"hi")
                return said, trailing, await refused.code()
        finally:
            await server.stop(None)

    said, trailing, code = asyncio.run(talk())
    assert (said, trailing[HEADER]) == (b"hi", "abc-2")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    good, bad = (line for line in lines(stream) if line["event"] == "request")
    assert (good["method"], good["status"], good["request_id"]) == ("/x/Say", "OK", "abc-2")
    assert bad["status"] == "INVALID_ARGUMENT"
    assert bad["request_id"] not in ("", "abc-2")


def test_every_line_is_json_whatever_its_content(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest would keep the lone surrogate for its report, which cannot be sent between processes.
    root = logging.getLogger()
    own = [h for h in root.handlers if type(h).__module__ != "_pytest.logging"]
    monkeypatch.setattr(root, "handlers", own)
    logging.getLogger("somewhere").warning("half a character \ud800, and %s", "two\nlines\u2028")
    structlog.get_logger("mmrank").info("numbers", nan=float("nan"), key={1: {2, 3}})
    warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    warnings.warn("other ways", UserWarning, stacklevel=1)

    def fail() -> None:
        raise ValueError("nobody foresaw it")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    texts = stream.getvalue().split("\n")
    assert texts.pop() == ""
    read = [json.loads(text, parse_constant=pytest.fail) for text in texts]
    events = [line["event"] for line in read]
    assert events[0] == "half a character ?, and two\nlines\u2028"
    assert read[1]["nan"] is None
    assert any("other ways" in event for event in events)
    assert "a thread failed" in events
    assert "ended by an error" in events
    assert all("nobody foresaw it" in json.dumps(line) for line in read[-2:])
