"""Structured logs: one JSON object a line, each with the id of the request that it belongs to.

No line holds what a client sent but the path and the id. mmrank's own loggers and those of other
packages go the same way.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TextIO

import grpc
import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from mmrank.server.rest import error_response

HEADER = "x-request-id"
MOST_CHARACTERS = 200  # of a path
# What a client may choose as an id; anything else could forge a line, or fill the disk.
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Its own lines of each request, which ours replace.
_REPLACED = ("uvicorn.access",)
_log = structlog.get_logger("mmrank.server")


def write_json(level: str = "info", stream: TextIO | None = None) -> None:
    """Has every logger of the process write JSON lines.

    Args:
      level: The least serious level that is written: debug, info, warning or error.
      stream: Where to; the error stream unless given.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        # Without the variables of its frames, among which is what clients sent.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _json_line,
            ],
        )
    )
    logging.captureWarnings(True)
    sys.excepthook = _told_of
    threading.excepthook = _told_of_thread
    sys.unraisablehook = _told_of_unraisable
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("mmrank", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _REPLACED:
        logging.getLogger(name).disabled = True


def _json_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One line of JSON, whatever it holds: halves of characters, or what is no number, too."""
    return orjson.dumps(_plain(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _told_of(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    _log.critical("ended by an error", exc_info=(kind, error, trace))


def _told_of_thread(failed: threading.ExceptHookArgs) -> None:
    error = failed.exc_value or failed.exc_type()
    _log.error("a thread failed", exc_info=(failed.exc_type, error, failed.exc_traceback))


def _told_of_unraisable(failed: Any) -> None:
    error = failed.exc_value or failed.exc_type()
    _log.error("an error went by", exc_info=(failed.exc_type, error, failed.exc_traceback))


def request_id(given: str | None) -> str:
    """The id that a client gave, or a new one where it gave none that can be used."""
    return given if given and _ID.fullmatch(given) else uuid.uuid4().hex


class RequestLog:
    """ASGI middleware: an id for every request, on its log lines and on its reply.

    Args:
      app: What answers.
      every: Whether each request gets a line; else only those that end in an error.
    """

    def __init__(self, app: ASGIApp, every: bool = True):
        self._app, self._every = app, every

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = request_id(Headers(scope=scope).get(HEADER))
        status, begun = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                MutableHeaders(scope=message)[HEADER] = number
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=number):
            try:
                await self._app(scope, receive, answer)
            except Exception as error:  # noqa: BLE001 - told here, where the id is known
                _log.exception("failed", exc_info=error)
                if not begun:
                    await error_response(error)(scope, receive, answer)
            finally:
                if self._every or status >= 400:
                    _log.info(
                        "request",
                        entrypoint="REST",
                        method=scope["method"],
                        path=scope["path"][:MOST_CHARACTERS],
                        status=status,
                        milliseconds=_since(started),
                    )


class RequestLogInterceptor(grpc.aio.ServerInterceptor):
    """gRPC interceptor: an id for every request, on its log lines and in the trailing metadata.

    Args:
      every: Whether each request gets a line; else only those that end in an error.
    """

    def __init__(self, every: bool = True):
        self._every = every

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of a method, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        given = dict(handler_call_details.invocation_metadata or ()).get(HEADER)
        number = request_id(given if isinstance(given, str) else None)

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            context.set_trailing_metadata(((HEADER, number),))
            started, failed = time.perf_counter(), True
            with structlog.contextvars.bound_contextvars(request_id=number):
                try:
                    reply = await handler.unary_unary(request, context)
                    failed = context.code() not in (None, 0, grpc.StatusCode.OK)
                    return reply
                finally:
                    if self._every or failed:
                        code = context.code() or (grpc.StatusCode.UNKNOWN if failed else None)
                        _log.info(
                            "request",
                            entrypoint="GRPC",
                            method=handler_call_details.method,
                            status=code.name if isinstance(code, grpc.StatusCode) else "OK",
                            milliseconds=_since(started),
                        )

        return grpc.unary_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 3)
