"""The disturbances of a soak test: each does what its description says."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from pipelines.benchmarks.soak.nuisances import PIPELINED, FullDisk, SilentClients, SlowReaders

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.2, prlimit")
WRITER = """
import pathlib, sys
from mmrank.server.guard.audit import AuditLog
log = AuditLog(pathlib.Path(sys.argv[1]))
for line in sys.stdin:
    try:
        log.add({"number": int(line)})
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        yield server


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    assert what()


def test_silent_clients_reconnect(listening: socket.socket) -> None:
    clients = SilentClients(listening.getsockname()[1], 7)
    clients.start()
    accepted = [listening.accept() for _ in range(7)]
    assert {address for _, (address, _) in accepted} == {"127.0.0.2"}
    until(lambda: clients.most == 7)
    for connection, _ in accepted[:3]:
        connection.close()
    again = [listening.accept()[0] for _ in range(3)]
    until(lambda: clients.closed == 3)
    clients.stop()
    for connection in (*again, *(c for c, _ in accepted[3:])):
        assert connection.recv(10) == b""  # closed without a reply
        connection.close()


def test_slow_readers_request_more_than_they_read(listening: socket.socket) -> None:
    reader = SlowReaders(listening.getsockname()[1], 1, "/big", b"{}")
    reader.start()
    connection, (address, _) = listening.accept()
    assert address == "127.0.0.3"
    asked = b""
    while asked.count(b"POST /big HTTP/1.1") < PIPELINED or not asked.endswith(b"{}"):
        asked += connection.recv(4096)
    connection.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 1 << 26:
            sent += connection.send(bytes(1 << 16))
    assert 0 < sent < 1 << 26  # only the system's buffers
    assert reader.cut == reader.connections == 0
    # As the server does: an orderly close would be delivered only after the unread data.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    until(lambda: reader.cut == reader.connections == 1)
    with listening.accept()[0]:  # it connects again
        reader.stop()
    assert (reader.cut, reader.connections) == (1, 2)


def test_an_end_in_good_order_is_not_a_cut(listening: socket.socket) -> None:
    reader = SlowReaders(listening.getsockname()[1], 1, "/big", b"{}")
    reader.start()
    connection, _ = listening.accept()
    length = len(reader._requests)
    while length:
        length -= len(connection.recv(4096))
    connection.close()
    until(lambda: reader.connections == 1)
    with listening.accept()[0]:
        reader.stop()
    assert (reader.cut, reader.connections) == (0, 2)


def test_the_log_reports_a_full_disk(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "audit.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def add(number: int) -> str:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(f"{number}\n")
            return writer.stdout.readline().strip()

        disk = FullDisk(writer.pid, file)
        assert add(1) == "written"
        disk.fill()
        assert disk.lines == 2
        assert [add(2), add(3)] == ["File too large"] * 2
        assert disk.lost() == 0
        disk.free()
        assert add(4) == "written"
        writer.stdin.close()
    assert disk.lost() == 2
    assert disk.whole()
    file.write_text(file.read_text().replace('"number": 1', '"number": 7'))
    assert not disk.whole()
