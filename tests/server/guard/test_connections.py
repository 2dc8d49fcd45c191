"""Request headers that are too long or never end, on a real connection."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mmrank.server.guard.connections import (
    HEAD_BYTES,
    MOST_PIPELINED,
    SEND_BUFFER,
    connection_options,
    set_socket_options,
)
from mmrank.server.guard.options import Limits

LONG = 64 * 2**20  # bytes, more than the system buffers
BUFFERED = 2 * 2**20  # bytes that the system buffers by default
APP = Starlette(
    routes=[
        Route("/", lambda request: PlainTextResponse("hello")),
        Route("/long", lambda request: PlainTextResponse(b"x" * LONG)),
        Route("/buffered", lambda request: PlainTextResponse(b"x" * BUFFERED)),
    ]
)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def said(
    talk: Talk,
    seconds: float = 30.0,
    proxies: tuple[str, ...] = (),
    connections: set[Any] | None = None,
    **limits: int,
) -> bytes:
    """Returns what a client receives until the server closes the connection.

    The server's open connections are put into `connections`.
    """

    async def go() -> bytes:
        options = connection_options(Limits(request_seconds=seconds, **limits), proxies)
        config = uvicorn.Config(APP, log_config=None, lifespan="off", **options)
        server = uvicorn.Server(config)
        if connections is not None:
            server.server_state.connections = connections
        listening = socket.create_server(("127.0.0.1", 0))
        set_socket_options(listening)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            return await asyncio.wait_for(talk(reader, writer), 10)
        finally:
            writer.close()
            server.should_exit = True
            await task

    return asyncio.run(go())


@pytest.mark.parametrize("line", [b"x-long: " + b"y" * 1000, b"x-many: 1\r\n"])
def test_the_size_of_headers_is_limited(line: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        count = HEAD_BYTES // len(line)
        writer.write(b"GET / HTTP/1.1\r\n" + line * (count - 1))
        await asyncio.sleep(0.05)
        assert not reader.at_eof()  # still within the limit
        writer.write(line * 2)
        return await reader.read()

    assert said(talk).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("line", [b"x-long: " + b"y" * 70_000, b"x-many: 1234567\r\n" * 5000])
def test_headers_in_one_packet_are_limited_too(line: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + line.rstrip() + b"\r\n\r\n")
        return await reader.read()

    decoded = said(talk)
    assert decoded.startswith(b"HTTP/1.1 400")
    assert b"headers are too large" in decoded


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_headers_that_never_end_close_the_connection(beginning: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(beginning)
        return await reader.read()

    assert said(talk, seconds=0.1) == b""


def test_consecutive_requests_are_not_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        decoded = b""
        for last in (False, False, True):
            await asyncio.sleep(0.12)  # in total longer than the time limit of a head
            end = b"Connection: close\r\n\r\n" if last else b"\r\n"
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + end)
            decoded += await reader.readuntil(b"hello")
        return decoded + await reader.read()

    assert said(talk, seconds=0.2).count(b"200 OK") == 3


def test_web_sockets_are_refused() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade)
        return await reader.readuntil(b"\r\n")

    assert b"101" not in said(talk)


def test_a_client_that_does_not_read_is_disconnected() -> None:
    connections: set[Any] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        while connections:  # until the server has closed this connection
            await asyncio.sleep(0.05)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        decoded = 0
        try:
            while part := await reader.read(1 << 20):
                decoded += len(part)
        except ConnectionResetError:
            pass
        return str(decoded).encode()

    assert int(said(talk, seconds=0.2, connections=connections)) < LONG


def test_a_reply_that_the_system_could_buffer_has_to_be_read_too() -> None:
    connections: set[Any] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        address = writer.get_extra_info("peername")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(address)
            slow.sendall(b"GET /buffered HTTP/1.1\r\nHost: x\r\n\r\n")
            while len(connections) < 2:
                await asyncio.sleep(0.01)
            while len(connections) > 1:
                await asyncio.sleep(0.05)
            # A reset drops what the system buffers, and the client sees it without reading.
            return str(slow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)).encode()

    assert int(said(talk, seconds=0.3, connections=connections)) == errno.ECONNRESET


def test_the_system_buffers_little_of_a_reply() -> None:
    connections: set[Any] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        while not connections:
            await asyncio.sleep(0.01)
        (connection,) = connections
        given = connection.transport.get_extra_info("socket")
        return str(given.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)).encode()

    # Linux reports twice the requested size.
    assert int(said(talk, connections=connections)) in (SEND_BUFFER, 2 * SEND_BUFFER)


@pytest.mark.parametrize("more", [0, 1])
def test_requests_that_wait_for_replies_are_bounded(more: int) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        # The first request is answered while the others wait.
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (MOST_PIPELINED + more))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await reader.read()

    decoded = said(talk)
    assert decoded.count(b"200 OK") == (0 if more else MOST_PIPELINED + 1)
    assert (b"requests wait for replies" in decoded) == bool(more)


def test_a_pause_before_the_next_request_does_not_count_as_not_reading() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        decoded = 0
        for last in (False, True):
            end = b"Connection: close\r\n\r\n" if last else b"\r\n"
            writer.write(b"GET /buffered HTTP/1.1\r\nHost: x\r\n" + end)
            decoded += len(await reader.readuntil(b"\r\n\r\n"))
            await asyncio.sleep(0.15)  # twice, in total longer than the limit
            decoded += len(await reader.readexactly(BUFFERED))
            await asyncio.sleep(0.15)
        return str(decoded + len(await reader.read())).encode()

    assert int(said(talk, seconds=0.25)) > 2 * BUFFERED


def test_a_slow_reader_is_not_disconnected() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        decoded = 0
        while part := await reader.read(1 << 21):
            decoded += len(part)
            await asyncio.sleep(0.03)  # in total longer than a full buffer may stay unread
        return str(decoded).encode()

    assert int(said(talk, seconds=0.5)) > LONG


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
def test_connections_per_address_are_limited(proxies: tuple[str, ...]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        address = writer.get_extra_info("peername")
        others = [await asyncio.open_connection(*address) for _ in range(3)]
        for _, other in others:
            other.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = [await other.readline() for other, _ in others]
        for _, other in others:
            other.close()
            await other.wait_closed()
        await asyncio.sleep(0.1)
        # Their slots are free again.
        again, other = await asyncio.open_connection(*address)
        other.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        lines.append(await again.readline())
        other.close()
        return b" ".join(line.split()[1] for line in lines)

    # The connection of `talk` itself counts too.
    decoded = said(talk, proxies=proxies, address_connections=2)
    assert decoded == (b"200 200 200 200" if proxies else b"200 429 429 200")


def test_a_malformed_request_returns_json() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"BREW\r\n\r\n")
        return await reader.read()

    head, _, body = said(talk).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert json.loads(body)["error"]
