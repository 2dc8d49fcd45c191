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

APP = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def said(talk: Talk, seconds: float = 30.0) -> bytes:
    """What a client hears until the server hangs up."""

    async def go() -> bytes:
        options = connection_options(Limits(request_seconds=seconds))
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
