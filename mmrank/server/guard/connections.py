"""Bounds REST connections: their number, the time to send a request, the time to read a reply."""

from __future__ import annotations

import asyncio
import collections
import socket
import struct
from collections.abc import Collection
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_remote_addr

from mmrank.server.guard.options import Limits

HEAD_BYTES = 1 << 16  # of the request line and the headers
# Bytes of a reply (or its rest, if less) that a client has to read in the time for a head.
LEAST_READ = 1 << 20
# Of a connection, in the system. Linux doubles it, and otherwise lets it grow to 4 MiB, into which
# a reply that is never read disappears without the server noticing.
SEND_BUFFER = 1 << 18
# Requests that wait behind another one of their connection. They are read before the guard can
# count their bytes: a client that sends on without reading could fill the memory with them.
MOST_PIPELINED = 16
_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 57\r\n\r\n{"error": "too many connections of this address at once"}'
)
_TOO_LARGE = "The request's headers are too large."
_TOO_EARLY = f"More than {MOST_PIPELINED} requests wait for replies to this connection."
_NO_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n"
)


def connection_options(limits: Limits, proxies: Collection[str] = ()) -> dict[str, Any]:
    """Returns arguments of `uvicorn.Config`: this protocol, no web sockets, bounded connections.

    Args:
      limits: See `Limits`.
      proxies: Addresses of proxies, which may have any number of connections.
    """
    counts: collections.Counter[str] = collections.Counter()

    class Bounded(BoundedConnection):
        seconds = limits.request_seconds
        most = limits.address_connections
        there = counts
        exempt = frozenset(proxies)

    return {"http": Bounded, "ws": "none", "limit_concurrency": limits.connections}


def set_socket_options(listening: socket.socket) -> None:
    """Sets the options that accepted connections inherit from a listening socket.

    A reply's body is sent without waiting until its headers are acknowledged, and the system's
    buffer of what a client has not read yet is bounded.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's connection with bounds on a request's head and on a reply that is not read.

    A head that is too long is answered with 400, and a slow one closes the connection. The
    connection is also closed if its address has too many, and aborted if a reply is not read. The
    guard bounds the body, but the guard is called only once the head has arrived.

    Attributes:
      seconds: Time limit for a head to arrive, and for `LEAST_READ` bytes of a reply to be read.
      most: Most connections of one address.
      there: Number of open connections by address; shared by all connections.
      exempt: Addresses without that bound.
    """

    seconds = 30.0
    most = 250
    there: collections.Counter[str] = collections.Counter()
    exempt: frozenset[str] = frozenset()
    _in_head = True
    _head_bytes = 0
    _headers = 0
    _early = False
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time limit of the head; refuses the connection if its address has too many."""
        super().connection_made(transport)
        # Writing is paused exactly while something waits to be read, so that a reply is given to
        # the transport in parts, as fast as the client reads them.
        transport.set_write_buffer_limits(high=1, low=0)
        self._start()
        peer = get_remote_addr(transport)
        address = None if peer is None else peer[0]
        if address is None or address in self.exempt:
            return
        if self.there[address] >= self.most:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._address = address
        self.there[address] += 1

    def data_received(self, data: bytes) -> None:
        """Receives bytes of a request."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start()
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begins a request.

        Raises:
          ValueError: Too many requests wait for replies; this one is answered with 400.
        """
        self._headers = 0
        self._early = len(self.pipeline) >= MOST_PIPELINED
        if self._early:
            raise ValueError(_TOO_EARLY)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receives a header and bounds the size of all headers, many of which can arrive at once.

        Raises:
          ValueError: The headers have too many bytes; the request is answered with 400.
        """
        self._headers += len(name) + len(value) + 4  # a colon, a space and the end of a line
        if self._headers > HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """Answers bytes that are not a request with 400, in the same format as other errors."""
        message = _TOO_LARGE if self._headers > HEAD_BYTES else _TOO_EARLY if self._early else msg
        body = orjson.dumps({"error": message})
        self.transport.write(_NO_REQUEST % len(body) + body)
        self.transport.close()

    def on_headers_complete(self) -> None:
        """Ends the head of a request."""
        self._in_head, self._head_bytes = False, 0
        self._cancel_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Ends a request; the next head may follow."""
        self._in_head = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Starts the time limit of a client that has not read everything."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stops that time limit, since the client has read everything."""
        super().resume_writing()
        self._stop_waiting_for_reads()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the time limits, and no longer counts the connection."""
        self._cancel_timer()
        self._stop_waiting_for_reads()
        if self._address is not None:
            self.there[self._address] -= 1
            if not self.there[self._address]:
                del self.there[self._address]
            self._address = None
        super().connection_lost(exc)

    def _start(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._end)

    def _end(self) -> None:
        self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Aborts the connection unless the client reads a megabyte, or the rest, in each period."""
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.seconds, self._cut, waiting)

    def _cut(self, waited: int) -> None:
        if self.transport.get_write_buffer_size() > max(0, waited - LEAST_READ):
            # The connection is reset, so that the system drops what it still holds for the client.
            given = self.transport.get_extra_info("socket")
            if given is not None:
                given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self._watch()

    def _stop_waiting_for_reads(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
