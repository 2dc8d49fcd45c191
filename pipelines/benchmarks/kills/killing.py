"""Processes that are killed at a moment of their work, or let finish."""

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

PATIENCE = 600.0  # seconds that any one step may take
TRIES = 4  # for each kill, since a process may end before its moment
_STEP = 0.005


@dataclasses.dataclass
class Part:
    """What came of one sort of kills.

    Attributes:
      name: What was killed.
      wanted, kills: How many kills there had to be, and were.
      left: Partial folders or files that they left behind.
      loaded: Versions that the server loaded meanwhile.
      problems: What should not have been.
    """

    name: str
    wanted: int
    kills: int = 0
    left: int = 0
    loaded: list[int] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def rounds(self) -> Iterator[int]:
        """The number of the kill to be tried, until there were enough or too many tries."""
        for _ in range(TRIES * self.wanted):
            if self.kills == self.wanted:
                return
            yield self.kills


def moment(draw: random.Random, number: int, count: int, most: float) -> float:
    """Seconds of a kill: random within its own one of `count` equal parts of `most`."""
    return most * (number + draw.random()) / count


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextlib.contextmanager
def started(command: Sequence[str], log: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, its output in `log`; killed if it still runs when the block ends."""
    # What libraries leave for the time being goes with the log's folder.
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
    """Whether SIGKILL met a process so long after its work began; not if it ended before.

    Raises:
      UserError: It failed by itself.
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
    """Seconds from when a process began its work to when it was done; it ended by itself.

    Raises:
      UserError: It failed.
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
    """Whether something comes true in time."""
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
        told = log.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
        raise UserError(f"{' '.join(command)}: exit code {process.returncode}: {told}")
