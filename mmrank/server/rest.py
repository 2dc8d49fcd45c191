"""TensorFlow Serving's REST API as an ASGI application."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
import urllib.parse
from collections.abc import Sequence

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
from mmrank.server.off_loop import on_thread, run_inline_or_in_thread
from mmrank.serving.versions import LARGEST, MOST_DIGITS

# The same paths as in TensorFlow Serving's model_servers/http_rest_api_util.cc.
_CALL = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_LOOK = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?",
    re.IGNORECASE,
)
VALUE_BYTES = 8  # of JSON for each value of a reply, roughly
logger = logging.getLogger(__name__)


def build_app(
    service: ModelService,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """Returns the application: predict, classify, regress, status, metadata and health.

    Every error is answered with the HTTP status of its code and {"error": message}.

    Args:
      service: The model.
      routes: Further routes. Errors of their endpoints are answered in the same way.
      middleware: From the outermost to the innermost.

    Example:
      >>> import pathlib
      >>> from mmrank.server.versions import Model
      >>> pathlib.Path("export/1").mkdir(parents=True)
      >>> app = build_app(ModelService(Model(path="export")))
      >>> [route.path for route in app.routes]
      ['/v1/{path:path}', '/V1/{path:path}', '/healthz', '/readyz']
    """
    api = _Api(service)
    own = [
        # TensorFlow Serving accepts its paths in any case.
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
    # A redirect would contain the Host header, which the client can choose.
    app.router.redirect_slashes = False
    return app


@dataclasses.dataclass(frozen=True)
class Target:
    """What the path of a request asks for.

    Attributes:
      name: The model.
      version, label: The version, by number or by label; None where the path does not name it.
      method: predict, classify, regress, status or metadata.
    """

    name: str
    version: int | None
    label: str | None
    method: str


def parse_path(verb: str, path: str) -> Target:
    """Returns what a path asks for.

    Raises:
      ServingError: The path is not part of the API.
    """
    found = (_CALL if verb == "POST" else _LOOK).fullmatch(path)
    if found is None:
        raise ServingError(INVALID_ARGUMENT, f"Malformed request: {verb} {path}")
    name, number, label, method = found.groups()
    if not name:
        raise ServingError(INVALID_ARGUMENT, "Missing model name in request.")
    digits = (number or "0").lstrip("0") or "0"
    # Checked first, since Python raises its own error for thousands of digits.
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
            # The path is used as sent: an escaped slash is part of a name, not a separator.
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
        """Reports that the process answers."""
        return PlainTextResponse("ok\n")

    async def is_ready(self, request: Request) -> Response:
        """Reports whether the server is ready for requests."""
        if self._service.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("no version is available\n", status_code=503)

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
        request = await run_inline_or_in_thread(len(body), parse_object, body, True)
        # The version is held, so that the tensors are read for the same version that runs them.
        with self._service.hold(target.version, target.label) as servable:
            signature = servable.signature(signature_name(request))
            form, tensors = await run_inline_or_in_thread(
                len(body), read_tensors, request, signature
            )
            outputs = await self._service.run_on(
                servable, signature.name, tensors, deadline=deadline
            )
        size = sum(a.size for a in outputs.values()) * VALUE_BYTES
        return servable.number, await run_inline_or_in_thread(size, write_tensors, form, outputs)

    async def _examples(self, target: Target, body: bytes, deadline: float) -> tuple[int, bytes]:
        request = await run_inline_or_in_thread(len(body), parse_object, body)
        with self._service.hold(target.version, target.label) as servable:
            signature = servable.signature(signature_name(request))
            # On a thread, whatever the size: a short request may hold many examples.
            tensors = await on_thread(len(body), read_examples, target.method, request, signature)
            outputs = await self._service.run_on(
                servable, signature.name, tensors, deadline=deadline
            )
        count = len(next(iter(tensors.values())))
        return servable.number, write_results(target.method, outputs, count)


def error_response(error: Exception) -> Response:
    """Returns the reply to a request that failed."""
    failure = from_exception(error)
    return JSONResponse(error_body(failure.message), status_code=failure.http_status)


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
