"""Memory and processor time of a server and its child processes, as counted by Linux."""

from __future__ import annotations

import contextlib
import os
import pathlib

MEGABYTE = 1 << 20


class Tree:
    """A process and its descendants.

    Shared pages count for each process, so the figures are upper bounds.

    Args:
      pid: Id of the process.
    """

    def __init__(self, pid: int):
        self._pid = pid

    def pids(self) -> list[int]:
        """The ids of the process and its living descendants."""
        found, waiting = [], [self._pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        waiting += map(int, (task / "children").read_text().split())
        return found

    def resident(self) -> float:
        """Resident memory in MiB now."""
        return sum(_of(pid, "VmRSS:") for pid in self.pids())

    def forget(self) -> None:
        """Restarts the measurement of peak memory."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """The sum of the processes' peak memory in MiB since then."""
        return sum(_of(pid, "VmHWM:") for pid in self.pids())

    def processor(self) -> float:
        """Processor time (seconds) that they took since they started."""
        return sum(map(_processor_of, self.pids()))


def _processor_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        # Fields 14 and 15; the second one may hold spaces, but ends with the last bracket.
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _of(pid: int, name: str) -> float:
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0
