"""Applies the guard to the REST application: keys, rates, and bodies of bounded size and time."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import orjson

from mmrank.server.errors import INVALID_ARGUMENT, UNAUTHENTICATED, ServingError
from mmrank.server.guard import audit
from mmrank.server.guard.access import Action, rest_action
from mmrank.server.guard.budget import Budget, Held, json_costs
from mmrank.server.guard.connections import LEAST_READ
from mmrank.server.guard.guard import Caller, Guard, Rejected
from mmrank.server.off_loop import INLINE_BYTES, on_thread

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
BAD, TOO_SLOW, TOO_LARGE, UNKNOWN, DISCONNECTED = 400, 408, 413, 415, 499
MOST_MEMBERS = 100  # of a gzip'd body, one after another
PART_BYTES = LEAST_READ  # of a reply that are handed over at once; the next follow when they left


class GuardMiddleware:
    """An ASGI application behind a guard.

    The whole body is read before the application is called. The application thus never waits for a
    slow client, and the body is bounded only here.

    Args:
      app: The application.
      guard: See `Guard`.
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
                    record(message["status"])  # first: an unrecorded reply is not sent
                except Rejected as error:
                    raise _Unrecorded(error) from None
            hold.add(len(message.get("body", b"")))
            for part in _parts(message):
                await send(part)

        status = 500  # of unexpected errors, which outer middleware answers
        with self._guard.memory.request() as hold:
            try:
                try:
                    _check_host(scope)
                    caller = self._guard.admit(_key(scope), action, peer)
                    body = await self._body(scope, receive, hold)
                    await self._app(scope, _replayed(body, receive), watched)
                except ServingError as error:
                    await _refuse(watched, getattr(error, "status", error.http_status), error)
                except _Disconnected:
                    status = DISCONNECTED
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

    async def _body(self, scope: Scope, receive: Receive, hold: Held) -> bytes:
        """Returns the body, unpacked, if it is within the limits."""
        limits = self._guard.limits
        most = limits.request_bytes
        words = f"the body is larger than {most / 2**20:g} MiB; send fewer candidates at a time"
        length = _header(scope, b"content-length")
        if length is not None and length.isdigit() and (len(length) > 18 or int(length) > most):
            raise _BadBody(TOO_LARGE, words)
        packing = (_header(scope, b"content-encoding") or "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip"):
            raise _BadBody(
                UNKNOWN, f"unsupported Content-Encoding {packing[:60]!r}; send gzip, or none"
            )
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
            values, size = await on_thread(len(body), json_costs, body)
            budget = Budget(limits)
            budget.take("memory", size)
            budget.take("values", values)
            hold(size)
        return body


async def _whole(receive: Receive, most: int, words: str, hold: Held) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _BadBody(TOO_LARGE, words)
        hold(size)
        if not message.get("more_body"):
            return b"".join(parts)


def _unpacked(body: bytes, most: int, words: str) -> bytes:
    """Returns the content of a gzip'd body; stops unpacking when it exceeds `most` bytes."""
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
        raise _BadBody(BAD, f"the body is not gzip: {error}") from None
    return b"".join(parts)


def _check_host(scope: Scope) -> None:
    """Checks that a request of HTTP/1.1 has exactly one Host header (RFC 9112, section 3.2)."""
    hosts = sum(name == b"host" for name, _ in scope["headers"])
    if hosts > 1 or (hosts == 0 and scope.get("http_version") == "1.1"):
        raise _BadBody(BAD, f"an HTTP/1.1 request needs one Host header; this one has {hosts}")


class _BadBody(ServingError):
    def __init__(self, status: int, message: str):
        super().__init__(INVALID_ARGUMENT, message)
        self.status = status


class _Unrecorded(Exception):
    """The audit log could not record a reply, which is therefore not sent."""

    def __init__(self, reason: Rejected):
        super().__init__(reason.message)
        self.reason = reason


class _Disconnected(Exception):
    """The client disconnected before its whole request had arrived."""


def _key(scope: Scope) -> str | None:
    """Returns the API key of a request, from `Authorization: Bearer` or `X-API-Key`."""
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
    """Returns a `receive` that gives the body once, and after it the server's own messages."""
    delivered = False

    async def receive_again() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _parts(message: Message) -> Iterator[Message]:
    """Yields a message in parts, each of which takes the event loop little time to hand over."""
    body = message.get("body", b"")
    last = max(0, len(body) - 1) // PART_BYTES * PART_BYTES
    for at in range(0, last, PART_BYTES):
        yield {**message, "body": body[at : at + PART_BYTES], "more_body": True}
    yield {**message, "body": body[last:]} if last else message


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
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
