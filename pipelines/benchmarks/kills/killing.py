"""Processes that are killed during their work, or finish."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from mmrank.outputs import UserError

PATIENCE = 600.0  # maximum seconds of a step
TRIES = 4  # per kill, because a process may end before its moment
_STEP = 0.005


@dataclasses.dataclass
class Part:
    """The results of one kind of kills.

    Attributes:
      name: What was killed.
      wanted, kills: The required and the actual number of kills.
      left: Number of partial folders or files that were left behind.
      loaded: Versions that the server loaded meanwhile.
      problems: Descriptions of violations.
    """

    name: str
    wanted: int
    kills: int = 0
    left: int = 0
    loaded: list[int] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def rounds(self) -> Iterator[int]:
        """Yields the index of the next kill until there are enough kills or too many tries."""
        for _ in range(TRIES * self.wanted):
            if self.kills == self.wanted:
                return
            yield self.kills


def moment(draw: random.Random, number: int, count: int, most: float) -> float:
    """Seconds until a kill: random within the kill's part of `count` equal parts of `most`."""
    return most * (number + draw.random()) / count


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextlib.contextmanager
def started(command: Sequence[str], log: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, its output in `log`; killed if it still runs when the block ends."""
    # Temporary files of libraries are deleted with the log's folder.
    scratch = log.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, "TMPDIR": str(scratch)}
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def killed(
    command: Sequence[str], log: pathlib.Path, began: Callable[[], bool], seconds: float
) -> bool:
    """Whether SIGKILL reached a process the given time after its work began, before it ended.

    Raises:
      UserError: The process failed.
    """
    with started(command, log) as process:
        _until(began, process)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
    _refuse_failed(process, command, log)
    return False


def finished(
    command: Sequence[str], log: pathlib.Path, began: Callable[[], bool], done: Callable[[], bool]
) -> float:
    """Seconds from the start to the end of a process's work; the process is not killed.

    Raises:
      UserError: The process failed.
    """
    with started(command, log) as process:
        _until(began, process)
        start = time.monotonic()
        _until(done, process)
        seconds = time.monotonic() - start
        process.wait(PATIENCE)
    _refuse_failed(process, command, log)
    return seconds


def within(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether a condition becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(_STEP)
    return True


def _until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    within(lambda: true() or process.poll() is not None)


def _refuse_failed(
    process: subprocess.Popen[bytes], command: Sequence[str], log: pathlib.Path
) -> None:
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
        raise UserError(f"{' '.join(command)}: exit code {process.returncode}: {tail}")
