"""Clients that send nothing or do not read, and a full disk, in addition to good clients."""

from __future__ import annotations

import contextlib
import json
import pathlib
import resource
import socket
import threading

from mmrank.server.guard.audit import AuditError, verify_audit

SILENT, SLOW = (
    "127.0.0.2",
    "127.0.0.3",
)  # their source addresses, which differ from those of good clients
PAUSE = 0.05  # seconds between two checks
UNREAD_BYTES = 8192  # size of a slow reader's buffer, which the system doubles
PIPELINED = 8  # requests that a slow reader sends before it has read a reply


class SilentClients:
    """Connections from one address that send nothing, opened again when they are closed.

    Args:
      port: The server's REST port, on loopback.
      count: Number of connections.

    Attributes:
      count: As given.
      closed: Number of connections that the server closed.
      most: Largest number of connections open at the same time.
    """

    def __init__(self, port: int, count: int):
        self._port, self.count = port, count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self.closed = self.most = 0

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Closes all connections."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _hold(self) -> None:
        there: list[socket.socket] = []
        while not self._stop.wait(PAUSE):
            ended = [s for s in there if _ended(s)]
            self.closed += len(ended)
            for one in ended:
                one.close()
                there.remove(one)
            # With a pause: a refused one would be opened again a thousand times a second.
            for _ in range(min(50, self.count - len(there))):
                with contextlib.suppress(OSError):
                    there.append(_connected(self._port, SILENT))
            self.most = max(self.most, len(there))
        for open_ in there:
            open_.close()


class SlowReaders:
    """Clients that send many requests for large replies at once and read 64 bytes per second.

    Args:
      port: The server's REST port, on loopback.
      count: Number of clients.
      path, body: Path and body of their requests.

    Attributes:
      connections: Number of connections that were made.
      cut: Number of connections that the server reset because their replies were not read.
    """

    def __init__(self, port: int, count: int, path: str, body: bytes):
        self._port = port
        head = f"POST {path} HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
        request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self._requests = request * PIPELINED
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]
        self.connections = self.cut = 0

    def start(self) -> None:
        """Starts the clients."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops the clients."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                slow = _connected(self._port, SLOW, UNREAD_BYTES)
            except OSError:
                self._stop.wait(1.0)
                continue
            with slow:
                cut = self._was_cut(slow)
            with self._lock:
                self.connections += 1
                self.cut += cut

    def _was_cut(self, slow: socket.socket) -> bool:
        """Sends and reads slowly until the connection ends; returns whether the server reset it."""
        left = memoryview(self._requests)
        slow.settimeout(0.2)
        try:
            while True:
                # Checked at once: reading would reach it only after the unread bytes.
                if slow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return True
                if left:
                    with contextlib.suppress(TimeoutError):
                        left = left[slow.send(left) :]
                if self._stop.wait(1.0):
                    return False
                with contextlib.suppress(TimeoutError):
                    if not slow.recv(64):
                        return False
        except ConnectionError:
            return True


class FullDisk:
    """A file that cannot grow, as on a full disk, by the process's limit on file sizes.

    Args:
      pid: Id of the process.
      file: The file.

    Attributes:
      lines: Lines of the file when it was full.
    """

    def __init__(self, pid: int, file: pathlib.Path):
        self._pid, self._file = pid, file
        self.lines = 0

    def fill(self) -> None:
        """Makes the file unable to grow."""
        _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        size = self._file.stat().st_size + 20  # half a line fits
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, hard))
        self.lines = _lines(self._file)

    def free(self) -> None:
        """Lets the file grow again."""
        _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (hard, hard))

    def lost(self) -> int:
        """The number of requests that the log reports as lost."""
        count = 0
        for line in self._file.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                count += int(json.loads(line).get("lost", 0))
        return count

    def whole(self) -> bool:
        """Whether the chain of the file's lines is intact."""
        try:
            verify_audit(self._file)
        except AuditError:
            return False
        return True


def _connected(port: int, source: str, unread: int | None = None) -> socket.socket:
    """A connection to the server from a loopback address."""
    made = socket.socket()
    try:
        if unread is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread)
        made.bind((source, 0))
        made.settimeout(10)
        made.connect(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made


def _ended(connection: socket.socket) -> bool:
    """Whether the server closed the connection, after any reply."""
    connection.setblocking(False)
    try:
        return not connection.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _lines(file: pathlib.Path) -> int:
    return file.read_bytes().count(b"\n")
