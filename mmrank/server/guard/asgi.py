"""The guard before the REST application: keys, rates, and bodies of bounded size and duration."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from mmrank.server.errors import INVALID_ARGUMENT, UNAUTHENTICATED, ServingError
from mmrank.server.guard import audit
from mmrank.server.guard.access import Action, rest_action
from mmrank.server.guard.budget import Budget, json_costs
from mmrank.server.guard.guard import Caller, Guard, Rejected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
BAD, TOO_SLOW, TOO_LARGE, UNKNOWN, GONE = 400, 408, 413, 415, 499
INLINE_BYTES = 1 << 15  # what is larger is looked through on a thread
MOST_MEMBERS = 100  # of a gzip'd body, one behind the other


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
        started, recorded = time.monotonic(), False
        action = rest_action(scope["method"], scope["path"])
        peer = scope["client"][0] if scope.get("client") else "local"
        facts = audit.begin()
        caller: Caller | None = None

        def record(status: int) -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                self._record(action, caller, peer, scope, status, started, facts)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                try:
                    record(message["status"])  # before it is answered, or not at all
                except Rejected as error:
                    raise _Unrecorded(error) from None
            await send(message)

        status = 500  # unless told: an error that nobody foresaw is answered further out
        try:
            try:
                _check_host(scope)
                caller = self._guard.admit(_key(scope), action, peer)
                with self._guard.memory.request() as hold:
                    body = await self._body(scope, receive, hold)
                    await self._app(scope, _replayed(body, receive), watched)
            except ServingError as error:
                await _refuse(watched, getattr(error, "status", error.http_status), error)
            except _Gone:
                status = GONE
        except _Unrecorded as error:
            await _refuse(send, error.reason.http_status, error.reason)
        finally:
            with contextlib.suppress(Rejected):  # nothing is answered
                record(status)

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

    async def _body(self, scope: Scope, receive: Receive, hold: Callable[[int], None]) -> bytes:
        """The body, unpacked, if it is within the limits."""
        limits = self._guard.limits
        most = limits.request_bytes
        words = f"the body is larger than {most / 2**20:g} MiB; send fewer candidates at a time"
        length = _header(scope, b"content-length")
        if length is not None and length.isdigit() and (len(length) > 18 or int(length) > most):
            raise _BadBody(TOO_LARGE, words)
        packing = (_header(scope, b"content-encoding") or "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip"):
            raise _BadBody(UNKNOWN, f"Content-Encoding {packing[:60]!r}; send gzip, or none")
        try:
            whole = _whole(receive, most, words, hold)
            body = await asyncio.wait_for(whole, limits.request_seconds)
        except asyncio.TimeoutError:
            raise _BadBody(
                TOO_SLOW, f"the body did not arrive within {limits.request_seconds:g} s"
            ) from None
        if packing != "identity" and body:
            body = await asyncio.to_thread(_unpacked, body, most, words)
        if len(body) > INLINE_BYTES:
            values, size = await asyncio.to_thread(json_costs, body)
            budget = Budget(limits)
            budget.take("memory", size)
            budget.take("values", values)
            hold(size)
        return body


async def _whole(receive: Receive, most: int, words: str, hold: Callable[[int], None]) -> bytes:
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
        hold(size)
        if not message.get("more_body"):
            return b"".join(parts)


def _unpacked(body: bytes, most: int, words: str) -> bytes:
    """What a gzip'd body holds, unpacked no further than it may be long."""
    parts: list[bytes] = []
    left = most
    try:
        while body:
            unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            parts.append(unpacking.decompress(body, left + 1))
            left -= len(parts[-1])
            if left < 0:
                raise _BadBody(TOO_LARGE, f"unpacked, {words}")
            if not unpacking.eof:
                raise _BadBody(BAD, "the gzip'd body ends early")
            body = unpacking.unused_data
            if len(parts) > MOST_MEMBERS:
                raise _BadBody(BAD, f"the gzip'd body has more than {MOST_MEMBERS} members")
    except zlib.error as error:
        raise _BadBody(BAD, f"the body is no gzip: {error}") from None
    return b"".join(parts)


def _check_host(scope: Scope) -> None:
    """Nothing, if a request of HTTP/1.1 says once whom it is for, as it has to (RFC 9112, 3.2)."""
    hosts = sum(name == b"host" for name, _ in scope["headers"])
    if hosts > 1 or (hosts == 0 and scope.get("http_version") == "1.1"):
        raise _BadBody(BAD, f"a request of HTTP/1.1 needs one Host header; there are {hosts}")


class _BadBody(ServingError):
    def __init__(self, status: int, message: str):
        super().__init__(INVALID_ARGUMENT, message)
        self.status = status


class _Unrecorded(Exception):
    """A reply that the audit log could not take down, and that is not sent."""

    def __init__(self, reason: Rejected):
        super().__init__(reason.message)
        self.reason = reason


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
    if status in (TOO_LARGE, TOO_SLOW, UNKNOWN):
        headers.append((b"connection", b"close"))  # what is still on its way is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
