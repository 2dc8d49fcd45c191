"""A server in a separate process, for benchmarks that measure it from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mmrank.outputs import UserError

START_SECONDS, STOP_SECONDS = 300, 60
_LISTENS = re.compile(r"REST on https?://([\d.]+:\d+)/\S*, gRPC on ([\d.]+:\d+)")


@dataclasses.dataclass(frozen=True)
class ServerProcess:
    """A running server.

    Attributes:
      process: Its process.
      rest, grpc: Its addresses, such as 127.0.0.1:8501.
    """

    process: subprocess.Popen[bytes]
    rest: str
    grpc: str


@contextlib.contextmanager
def server_process(
    model: pathlib.Path,
    settings: Mapping[str, Any],
    log: pathlib.Path,
    checkout: pathlib.Path | None = None,
) -> Iterator[ServerProcess]:
    """A server on free ports of the loopback address, which ends with the block.

    Args:
      model: Folder of the numbered exports.
      settings: Settings of the server's config, such as {"rank.threads": 4}.
      log: File for the server's log.
      checkout: Folder of the checkout whose server is started; by default, the current one.

    Raises:
      UserError: The server did not start.
    """
    command = [sys.executable, "-m", "mmrank.serve", "--model", str(model)]
    for name, value in {"listen.rest_port": 0, "listen.grpc_port": 0, **settings}.items():
        command += ["--set", f"{name}={value}"]
    with log.open("wb") as stream:
        environment = os.environ | ({} if checkout is None else {"PYTHONPATH": str(checkout)})
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, cwd=checkout, env=environment
        )
    try:
        rest, grpc = _addresses(process, log)
        yield ServerProcess(process, rest, grpc)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _addresses(process: subprocess.Popen[bytes], log: pathlib.Path) -> tuple[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return found[1], found[2]
        time.sleep(0.2)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise UserError(f"the server did not start: {tail}")
