"""Heads of requests that are endless, or never end, on a real connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mmrank.server.guard.connections import HEAD_BYTES, connection_options
from mmrank.server.guard.options import Limits

LONG = 64 * 2**20  # bytes, more than the system buffers
APP = Starlette(
    routes=[
        Route("/", lambda request: PlainTextResponse("hello")),
        Route("/long", lambda request: PlainTextResponse(b"x" * LONG)),
    ]
)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def said(talk: Talk, seconds: float = 30.0, proxies: tuple[str, ...] = (), **limits: int) -> bytes:
    """What a client hears until the server hangs up."""

    async def go() -> bytes:
        options = connection_options(Limits(request_seconds=seconds, **limits), proxies)
        config = uvicorn.Config(APP, log_config=None, lifespan="off", **options)
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
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
def test_headers_end_at_a_bound(line: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        count = HEAD_BYTES // len(line)
        writer.write(b"GET / HTTP/1.1\r\n" + line * (count - 1))
        await asyncio.sleep(0.05)
        assert not reader.at_eof()  # so far it is within the bound
        writer.write(line * 2)
        return await reader.read()

    assert said(talk).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_never_ends_is_hung_up_on(beginning: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(beginning)
        return await reader.read()

    assert said(talk, seconds=0.1) == b""


def test_requests_one_after_another_are_not_cut() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        heard = b""
        for last in (False, False, True):
            await asyncio.sleep(0.12)  # longer in all than a head may take
            end = b"Connection: close\r\n\r\n" if last else b"\r\n"
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + end)
            heard += await reader.readuntil(b"hello")
        return heard + await reader.read()

    assert said(talk, seconds=0.2).count(b"200 OK") == 3


def test_web_sockets_are_not_offered() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade)
        return await reader.readuntil(b"\r\n")

    assert b"101" not in said(talk)


def test_a_client_that_does_not_read_is_cut() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        heard = 0
        try:
            while part := await reader.read(1 << 20):
                heard += len(part)
        except ConnectionResetError:
            pass
        return str(heard).encode()

    assert int(said(talk, seconds=0.2)) < LONG


def test_a_slow_reader_is_not_cut() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heard = 0
        while part := await reader.read(1 << 21):
            heard += len(part)
            await asyncio.sleep(0.03)  # in all longer than a full buffer may lie
        return str(heard).encode()

    assert int(said(talk, seconds=0.5)) > LONG


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
def test_connections_of_an_address_are_bounded(proxies: tuple[str, ...]) -> None:
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
        # Their places are free again.
        again, other = await asyncio.open_connection(*address)
        other.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        lines.append(await again.readline())
        other.close()
        return b" ".join(line.split()[1] for line in lines)

    # The connection of the talk itself counts.
    heard = said(talk, proxies=proxies, address_connections=2)
    assert heard == (b"200 200 200 200" if proxies else b"200 429 429 200")
