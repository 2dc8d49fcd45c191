"""Structured logs: one JSON object per line, with the id of the request that it belongs to.

Of what a client sent, a line holds only the path and the id. Loggers of mmrank and of other
packages write the same format to the same stream.
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
# The ids that a client may choose; any other id could forge a line, or fill the disk.
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Uvicorn's line for each request, which `RequestLog` replaces.
_REPLACED = ("uvicorn.access",)
_log = structlog.get_logger("mmrank.server")


def write_json(level: str = "info", stream: TextIO | None = None) -> None:
    """Configures every logger of the process to write JSON lines.

    Args:
      level: The least serious level that is written: debug, info, warning or error.
      stream: Where the lines are written; by default, the error stream.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        # Without local variables, which can hold what clients sent.
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
    sys.excepthook = _log_exception
    threading.excepthook = _log_thread_exception
    sys.unraisablehook = _log_unraisable
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
    """Returns an event as a line of JSON, even if it holds lone surrogates or NaN."""
    return orjson.dumps(_plain(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _log_exception(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    _log.critical("ended by an error", exc_info=(kind, error, trace))


def _log_thread_exception(failed: threading.ExceptHookArgs) -> None:
    error = failed.exc_value or failed.exc_type()
    _log.error("a thread failed", exc_info=(failed.exc_type, error, failed.exc_traceback))


def _log_unraisable(failed: Any) -> None:
    error = failed.exc_value or failed.exc_type()
    _log.error("an error was ignored", exc_info=(failed.exc_type, error, failed.exc_traceback))


def request_id(given: str | None) -> str:
    """Returns the id that a client gave, or a new id if that is missing or not allowed."""
    return given if given and _ID.fullmatch(given) else uuid.uuid4().hex


class RequestLog:
    """ASGI middleware: gives every request an id, in its log lines and in its reply's header.

    Args:
      app: The application that answers.
      every: Whether each request gets a line; otherwise, only those that end in an error.
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
            except Exception as error:  # noqa: BLE001 - logged here, where the id is known
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
    """gRPC interceptor: gives every request an id, in its log lines and in the trailing metadata.

    Args:
      every: Whether each request gets a line; otherwise, only those that end in an error.
    """

    def __init__(self, every: bool = True):
        self._every = every

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Returns the handler of a method, wrapped so that its calls are logged."""
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
