"""The processes of a soak: a Redis that can fail, and a server whose versions change."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import redis

from mmrank.outputs import UserError
from pipelines.benchmarks.kills.asking import status

PATIENCE = 600.0  # seconds for a start or a change


class Redis:
    """A redis-server on a free port of loopback, with a separate folder.

    Args:
      folder: An empty folder for its dump.
      program: The program.
    """

    def __init__(self, folder: pathlib.Path, program: str = "redis-server"):
        found = shutil.which(program)
        if found is None:
            raise UserError(f"--redis-server: no program {program!r}; apt-get install redis-server")
        self._program, self._folder, self.port = found, folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts Redis with its last saved data."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            [self._program, *arguments, "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = redis.Redis(port=self.port)
        ended = time.monotonic() + PATIENCE
        while time.monotonic() < ended:
            with contextlib.suppress(redis.RedisError):
                if client.ping():
                    client.close()
                    return
            time.sleep(0.05)
        raise UserError(f"redis-server does not answer on port {self.port}")

    def save(self) -> None:
        """Saves its data to disk, so that it is available again after `kill` and `start`."""
        with redis.Redis(port=self.port) as client:
            client.save()

    def kill(self) -> None:
        """Kills it, like a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Server:
    """`python -m mmrank.serve` over a folder of versions that starts with one.

    Args:
      export: The export that all versions are copies of.
      folder: An empty folder for the versions and the log.
      settings: Overrides of its config, such as embeddings.redis=….
      preload: A library to load first, such as an allocator; none if empty.
    """

    def __init__(
        self, export: pathlib.Path, folder: pathlib.Path, settings: Sequence[str], preload: str = ""
    ):
        self._export, self._folder, self._preload = export, folder, preload
        self.base = folder / "models"
        self.base.mkdir()
        self.log = folder / "server.log"
        self.rest_port, self.grpc_port = free_port(), free_port()
        ports = [f"listen.rest_port={self.rest_port}", f"listen.grpc_port={self.grpc_port}"]
        self._settings = [*ports, "model.poll_seconds=0.5", *settings]
        self._process: subprocess.Popen[bytes] | None = None
        self.newest = 0

    def add_version(self) -> int:
        """Adds a version to the folder in one step and returns its number."""
        number = self.newest + 1
        hidden = self.base / f".copy-{number}"
        shutil.copytree(self._export, hidden, copy_function=_link)
        hidden.rename(self.base / str(number))
        self.newest = number
        return number

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        arguments = [a for s in self._settings for a in ("--set", s)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mmrank.serve", "--model", str(self.base), *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_PRELOAD": self._preload},
            )
        ended = time.monotonic() + PATIENCE
        while time.monotonic() < ended and self.running:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.2)
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-600:]
        raise UserError(f"the server did not become ready: {tail}")

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def memory(self) -> float:
        """Resident memory in bytes, from the server's own metrics."""
        _, page = self.get("/monitoring/prometheus/metrics")
        name = "process_resident_memory_bytes "
        return float(next(line for line in page.splitlines() if line.startswith(name)).split()[1])

    def states(self) -> dict[int, str]:
        """The state of every version by number, in the terms of TensorFlow Serving."""
        statuses = status(f"127.0.0.1:{self.rest_port}")
        return {number: state for number, (state, _) in statuses.items()}

    def stop(self) -> int:
        """Ends it by SIGTERM and returns its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def free_port() -> int:
    """A free port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _link(source: str, target: str) -> None:
    """A hard link if the disk supports them, because versions are equal and never change."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
