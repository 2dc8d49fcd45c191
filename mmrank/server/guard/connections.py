"""Connections that cannot be held open with half a request, an unread reply, or by the thousand."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Collection
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_remote_addr

from mmrank.server.guard.options import Limits

HEAD_BYTES = 1 << 16  # of the request line and the headers
LEAST_READ = 1 << 20  # bytes of a reply in the time that a head may take, or what is left of it
_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 57\r\n\r\n{"error": "too many connections of this address at once"}'
)


def connection_options(limits: Limits, proxies: Collection[str] = ()) -> dict[str, Any]:
    """Arguments of `uvicorn.Config`: the protocol below, no web sockets, a bound on connections.

    Args:
      limits: See there.
      proxies: Addresses of proxies, which may have any number of connections.
    """
    counts: collections.Counter[str] = collections.Counter()

    class Bounded(BoundedConnection):
        seconds = limits.request_seconds
        most = limits.address_connections
        there = counts
        exempt = frozenset(proxies)

    return {"http": Bounded, "ws": "none", "limit_concurrency": limits.connections}


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's connection, ended with 400 or closed when a request's head is too long or slow.

    It is closed as well when its address has too many, and cut when a reply is not read. The guard
    bounds the body; before the head is there, no application is asked.

    Attributes:
      seconds: What a head may take to arrive, and `LEAST_READ` of a reply to be read.
      most: Connections of one address.
      there: Those that are there by address, of all connections together.
      exempt: Addresses that may have more.
    """

    seconds = 30.0
    most = 250
    there: collections.Counter[str] = collections.Counter()
    exempt: frozenset[str] = frozenset()
    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self._start()
        peer = get_remote_addr(transport)
        address = None if peer is None else peer[0]
        if address is None or address in self.exempt:
            return
        if self.there[address] >= self.most:
            transport.write(_TOO_MANY)
            transport.close()
            self._watch()
            return
        self._address = address
        self.there[address] += 1

    def data_received(self, data: bytes) -> None:
        """Takes bytes of a request."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start()
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_headers_complete(self) -> None:
        """Ends the head of a request."""
        self._in_head, self._head_bytes = False, 0
        self._halt()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Ends a request; the next head may follow."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Ends a reply, as far as the server can: its last bytes may still wait for the client."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Starts the clock of a client that does not read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stops that clock: the client reads."""
        super().resume_writing()
        self._forgive()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        self._halt()
        self._forgive()
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
        self._watch()

    def _halt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Cuts the connection unless what was written is read in time, megabyte by megabyte."""
        waiting = self.transport.get_write_buffer_size()
        if self._unread is None and waiting:
            self._unread = self.loop.call_later(self.seconds, self._cut, waiting)

    def _cut(self, waited: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() > max(0, waited - LEAST_READ):
            self.transport.abort()
        else:
            self._watch()

    def _forgive(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
