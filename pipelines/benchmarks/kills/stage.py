"""The stage for all kills: a folder of versions, a server for it, and a client."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmrank.serving.checksums import ChecksumError, verify_checksums
from mmrank.serving.versions import versions
from pipelines.benchmarks.kills.asking import Asker, States, status
from pipelines.benchmarks.kills.killing import PATIENCE, within
from pipelines.benchmarks.server_process import ServerProcess, server_process

DEAD = 0.3  # seconds
SETTINGS: Mapping[str, Any] = {"model.poll_seconds": 0.2, "monitoring.log_requests": "false"}
_SERVES = re.compile(r"version (\d+) serves after ([\d.]+) s")


class ServerDied(Exception):
    """The server ended unexpectedly."""


class Stage:
    """The folder of versions and all observations of its servers.

    Args:
      folder: An empty folder for versions and logs.
      body: Body of the request that is sent continuously.
      settings: Settings of the server's config in addition to `SETTINGS`.

    Attributes:
      models: The numbered versions.
      whole: Versions that were written completely, with an export that has the same scores.
      deaths: Start and end of each time without a server, by `time.monotonic()`.
      asker: The client.
    """

    def __init__(self, folder: pathlib.Path, body: bytes, settings: Mapping[str, Any]):
        self.folder, self.models = folder, folder / "models"
        self.models.mkdir()
        self.whole: dict[int, pathlib.Path] = {}
        self.deaths: list[tuple[float, float]] = []
        self.asker = Asker(body)
        self._address = ""
        self._settings = {**SETTINGS, **settings}
        self._lives, self._newest = 0, 0
        self._killed: list[float] = []

    @property
    def log(self) -> pathlib.Path:
        """The log of killed processes."""
        return self.folder / "killed.log"

    @contextlib.contextmanager
    def serving(self) -> Iterator[ServerProcess]:
        """A server that gets requests continuously until the block ends."""
        self._lives += 1
        with server_process(self.models, self._settings, self._log(self._lives)) as server:
            self._address = server.rest
            with self.asker.asking(server.rest):
                yield server
            self.deaths += [(start, time.monotonic()) for start in self._killed]
            self._killed.clear()

    def kill(self, server: ServerProcess) -> None:
        """Ends the server by SIGKILL, and lets requests fail for a moment."""
        self._killed.append(time.monotonic())
        server.process.kill()
        server.process.wait()
        time.sleep(DEAD)

    def number(self) -> int:
        """A version number above all earlier ones."""
        self._newest = max([self._newest, *versions(self.models)]) + 1
        return self._newest

    def publish(self, export: pathlib.Path) -> int:
        """Adds a copy of an export in one step and returns its number."""
        number = self.number()
        hidden = self.models / f".copy-{number}"
        shutil.copytree(export, hidden)
        self.whole[number] = export
        hidden.rename(self.models / str(number))
        return number

    def remove(self, number: int) -> None:
        """Removes a version in one step."""
        hidden = self.models / f".removed-{number}"
        (self.models / str(number)).rename(hidden)
        shutil.rmtree(hidden)

    def is_whole(self, number: int) -> bool:
        """Whether a version matches its list of checksums."""
        try:
            verify_checksums(self.models / str(number))
        except ChecksumError:
            return False
        return True

    def states(self) -> States:
        """The states of the versions, as reported by the server.

        Raises:
          ServerDied: The server does not answer.
        """
        try:
            return status(self._address)
        except (OSError, http.client.HTTPException) as error:
            tail = self._log(self._lives).read_text(encoding="utf-8", errors="replace")[-1000:]
            raise ServerDied(f"server {self._lives} does not answer: {error}: {tail}") from None

    def state(self, number: int) -> str:
        """The server's state of a version; empty if it reports none."""
        return self.states().get(number, ("", ""))[0]

    def comes_to(self, number: int, states: Collection[str], seconds: float = PATIENCE) -> bool:
        """Whether the server reports one of the given states of a version in time."""
        return within(lambda: self.state(number) in states, seconds)

    def switches(self, number: int) -> bool:
        """Whether a version answers in time."""
        return within(lambda: self.asker.version == number)

    def loads(self) -> list[tuple[int, float]]:
        """Version and seconds of every load that any server logged, in order."""
        found = []
        for life in range(1, self._lives + 1):
            text = self._log(life).read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                match = _SERVES.search(line)
                if match is not None:
                    found.append((int(match[1]), float(match[2])))
        return found

    def _log(self, life: int) -> pathlib.Path:
        return self.folder / f"server-{life}.log"


def request_body(asked: Mapping[str, Any], items: list[str]) -> bytes:
    """The body of POST /rank."""
    return json.dumps({**asked, "candidates": items}).encode()
