"""TensorFlow Serving's REST API as an ASGI application."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from mmrank.server.errors import (
    CANCELLED,
    INVALID_ARGUMENT,
    ServingError,
    error_body,
    from_exception,
)
from mmrank.server.examples import read_examples, write_results
from mmrank.server.json_tensors import (
    parse_object,
    read_tensors,
    signature_name,
    write_tensors,
)
from mmrank.server.metadata import metadata_json, status_json
from mmrank.server.models import ModelService
from mmrank.serving.versions import LARGEST, MOST_DIGITS

# Those of model_servers/http_rest_api_util.cc in TensorFlow Serving.
_CALL = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_LOOK = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?",
    re.IGNORECASE,
)
# What is larger is read and written on a thread, so that other requests do not wait for it.
INLINE_BYTES = 1 << 15
INLINE_VALUES = 1 << 12
logger = logging.getLogger(__name__)


def build_app(
    service: ModelService,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """The application: predict, classify, regress, status, metadata and health.

    Args:
      service: The model.
      routes: Further ones. Errors that their endpoints raise are answered as below.
      middleware: From the outermost to the innermost.

    Every error is answered by its code's HTTP status and {"error": message}.
    """
    api = _Api(service)
    own = [
        # TensorFlow Serving's paths are of any case.
        Route("/v1/{path:path}", api.handle, methods=["GET", "POST"]),
        Route("/V1/{path:path}", api.handle, methods=["GET", "POST"]),
        Route("/healthz", api.alive, methods=["GET"]),
        Route("/readyz", api.is_ready, methods=["GET"]),
    ]
    app = Starlette(
        routes=[*routes, *own],
        middleware=list(middleware),
        exception_handlers={
            ServingError: _answer_error,
            404: _unknown_path,
            405: _unknown_path,
            Exception: _answer_error,
        },
    )
    # It would name the host that the client says it asked.
    app.router.redirect_slashes = False
    return app


@dataclasses.dataclass(frozen=True)
class Target:
    """What the path of a request asks for.

    Attributes:
      name: The model.
      version, label: As far as they are named.
      method: predict, classify, regress, status or metadata.
    """

    name: str
    version: int | None
    label: str | None
    method: str


def parse_path(verb: str, path: str) -> Target:
    """What a path asks for.

    Raises:
      ServingError: It is none of the API's.
    """
    found = (_CALL if verb == "POST" else _LOOK).fullmatch(path)
    if found is None:
        raise ServingError(INVALID_ARGUMENT, f"Malformed request: {verb} {path}")
    name, number, label, method = found.groups()
    if not name:
        raise ServingError(INVALID_ARGUMENT, "Missing model name in request.")
    digits = (number or "0").lstrip("0") or "0"
    # Python refuses to read thousands of digits, by an error of its own.
    if len(digits) > MOST_DIGITS or int(digits) > LARGEST:
        raise ServingError(
            INVALID_ARGUMENT, f"Failed to convert version: {number[:40]} to numeric."
        )
    version = None if number is None else int(digits)
    return Target(
        urllib.parse.unquote(name),
        version,
        None if label is None else urllib.parse.unquote(label),
        (method or "status").lower(),
    )


class _Api:
    """The endpoints of one model."""

    def __init__(self, service: ModelService):
        self._service = service

    async def handle(self, request: Request) -> Response:
        """Answers one request of TensorFlow Serving's API, and counts it."""
        started = time.monotonic()
        target = Target("", None, None, "unknown")
        version: int | None = None
        code = "OK"
        try:
            # The path as it came: an escaped slash is part of a name, not a step.
            raw = request.scope.get("raw_path") or request.url.path.encode()
            verb = "GET" if request.method == "HEAD" else request.method
            target = parse_path(verb, raw.decode("ascii", "replace"))
            if request.method == "POST":
                version, reply = await self._call(target, await request.body())
            else:
                reply = self._look(target)
            return Response(reply, media_type="application/json")
        except ClientDisconnect:
            code = CANCELLED
            return Response(status_code=499)
        except ServingError as error:
            code = error.code
            raise
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            self._service.metrics.request(
                target.name, version, target.method, code, time.monotonic() - started, "REST"
            )

    async def alive(self, request: Request) -> Response:
        """Says that the process answers."""
        return PlainTextResponse("ok\n")

    async def is_ready(self, request: Request) -> Response:
        """Says whether a version serves."""
        if self._service.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("no version serves\n", status_code=503)

    def _look(self, target: Target) -> bytes:
        if target.method == "metadata":
            self._service.check_name(target.name)
            servable = self._service.servable(target.version, target.label)
            return metadata_json(self._service.name, servable)
        return status_json(self._service.status(target.name, target.version, target.label))

    async def _call(self, target: Target, body: bytes) -> tuple[int, bytes]:
        self._service.check_name(target.name)
        deadline = time.monotonic() + self._service.timeout
        answer = self._predict if target.method == "predict" else self._examples
        return await answer(target, body, deadline)

    async def _predict(self, target: Target, body: bytes, deadline: float) -> tuple[int, bytes]:
        request = await near_or_far(len(body), parse_object, body)
        # Held, so that the tensors are read for the very version that they are run on.
        with self._service.hold(target.version, target.label) as servable:
            signature = servable.signature(signature_name(request))
            form, tensors = await near_or_far(len(body), read_tensors, request, signature)
            outputs = await self._service.run_on(
                servable, signature.name, tensors, deadline=deadline
            )
        size = sum(a.size for a in outputs.values()) * (INLINE_BYTES // INLINE_VALUES)
        return servable.number, await near_or_far(size, write_tensors, form, outputs)

    async def _examples(self, target: Target, body: bytes, deadline: float) -> tuple[int, bytes]:
        request = await near_or_far(len(body), parse_object, body)
        with self._service.hold(target.version, target.label) as servable:
            signature = servable.signature(signature_name(request))
            # Apart, whatever the size: a short request may ask for many examples.
            tensors = await asyncio.to_thread(read_examples, target.method, request, signature)
            outputs = await self._service.run_on(
                servable, signature.name, tensors, deadline=deadline
            )
        count = len(next(iter(tensors.values())))
        return servable.number, write_results(target.method, outputs, count)


async def near_or_far(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, from a thread if the work is large."""
    if size <= INLINE_BYTES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


def error_response(error: Exception) -> Response:
    """The reply to a request that failed."""
    told = from_exception(error)
    return JSONResponse(error_body(told.message), status_code=told.http_status)


async def _answer_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ServingError):
        logger.exception("%s %s", request.method, request.url.path, exc_info=error)
    return error_response(error)


async def _unknown_path(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse(
        error_body(f"Malformed request: {request.method} {request.url.path}"),
        status_code=status,
        headers=getattr(error, "headers", None),
    )
