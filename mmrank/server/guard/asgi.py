"""The guard before the REST application: keys, rates, and bodies of bounded size and duration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from mmrank.server.errors import INVALID_ARGUMENT, UNAUTHENTICATED, ServingError
from mmrank.server.guard import audit
from mmrank.server.guard.access import Action, rest_action
from mmrank.server.guard.guard import Caller, Guard, Rejected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
TOO_LARGE, TOO_SLOW, GONE = 413, 408, 499


class GuardMiddleware:
    """An ASGI application behind a guard.

    A body is read whole before the application is called, so that it never waits for a slow client
    and nothing but this has to bound it.

    Args:
      app: The application.
      guard: See there.
    """

    def __init__(self, app: App, guard: Guard):
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        action = rest_action(scope["method"], scope["path"])
        peer = scope["client"][0] if scope.get("client") else "local"
        facts, caller = audit.begin(), None
        try:
            caller = self._guard.admit(_key(scope), action, peer)
            body = await self._body(scope, receive)
            await self._app(scope, _replayed(body, receive), watched)
        except Rejected as error:
            await _refuse(watched, error.http_status, error)
        except _BadBody as error:
            await _refuse(watched, error.status, error)
        except _Gone:
            status = GONE
        finally:
            self._record(action, caller, peer, scope, status or 500, started, facts)

    def _record(
        self,
        action: Action,
        caller: Caller | None,
        peer: str,
        scope: Scope,
        status: int,
        started: float,
        facts: dict[str, Any],
    ) -> None:
        seconds = time.monotonic() - started
        self._guard.record(action, caller, peer, scope["path"], status, seconds, facts)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limits = self._guard.limits
        most = limits.request_bytes
        words = f"the body is larger than {most / 2**20:g} MiB; send fewer candidates at a time"
        length = _header(scope, b"content-length")
        if length is not None and length.isdigit() and int(length) > most:
            raise _BadBody(TOO_LARGE, words)
        try:
            return await asyncio.wait_for(_whole(receive, most, words), limits.request_seconds)
        except asyncio.TimeoutError:
            raise _BadBody(
                TOO_SLOW, f"the body did not arrive within {limits.request_seconds:g} s"
            ) from None


async def _whole(receive: Receive, most: int, words: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _BadBody(TOO_LARGE, words)
        if not message.get("more_body"):
            return b"".join(parts)


class _BadBody(ServingError):
    def __init__(self, status: int, message: str):
        super().__init__(INVALID_ARGUMENT, message)
        self.status = status


class _Gone(Exception):
    """The client left before its request was there."""


def _key(scope: Scope) -> str | None:
    """The API key of a request, from `Authorization: Bearer` or `X-API-Key`."""
    sent = _header(scope, b"authorization")
    if sent is not None:
        scheme, _, key = sent.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else sent
    return _header(scope, b"x-api-key")


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and after it what the server says."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, status: int, error: ServingError) -> None:
    body = orjson.dumps({"error": error.message})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.code == UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Rejected) and error.retry_seconds is not None:
        headers.append((b"retry-after", str(error.retry_seconds).encode()))
    if status in (TOO_LARGE, TOO_SLOW):
        headers.append((b"connection", b"close"))  # what is still on its way is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
