"""Connections that cannot be held open with half a request, nor filled with endless headers."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mmrank.server.guard.options import Limits

HEAD_BYTES = 1 << 16  # of the request line and the headers


def connection_options(limits: Limits) -> dict[str, Any]:
    """Arguments of `uvicorn.Config`: the protocol below, no web sockets, a bound on connections."""

    class Bounded(BoundedConnection):
        seconds = limits.request_seconds

    return {"http": Bounded, "ws": "none", "limit_concurrency": limits.connections}


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's connection, ended with 400 or closed when a request's head is too long or slow.

    The guard bounds the body; before the head is there, no application is asked.

    Attributes:
      seconds: What a head may take to arrive.
    """

    seconds = 30.0
    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of a request."""
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

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._halt()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _halt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
