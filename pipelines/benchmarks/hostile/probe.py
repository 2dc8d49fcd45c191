"""A probe beside hostile requests: how long the server's event loop stood still, by /healthz."""

from __future__ import annotations

import pathlib
import threading
import time
from types import TracebackType

import httpx

PAUSE = 0.005  # seconds between two looks


class Probe:
    """Asks /healthz over and over while its block runs.

    What it waits for beside a stall, a busy client's own turn and the reply, is counted as well:
    the figure is an upper bound.

    Args:
      rest: Base URL of the server.

    Attributes:
      waits: Seconds that each answer took.
      failed: Requests without one.
    """

    def __init__(self, rest: str):
        self._rest = rest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.waits: list[float] = []
        self.failed = 0

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def told(self) -> str:
        """One line of figures."""
        if not self.waits:
            return "the probe was never answered"
        waits = sorted(self.waits)
        middle, most = waits[len(waits) // 2], waits[-1]
        high = waits[int(0.999 * (len(waits) - 1))]
        return (
            f"/healthz beside: {len(waits):,} answers, {self.failed} without; median "
            f"{1000 * middle:.1f} ms, 99.9% {1000 * high:.0f} ms, longest {1000 * most:.0f} ms"
        )

    def _ask(self) -> None:
        with httpx.Client(base_url=self._rest, timeout=60) as client:
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    client.get("/healthz").raise_for_status()
                    self.waits.append(time.monotonic() - started)
                except httpx.HTTPError:
                    self.failed += 1
                time.sleep(PAUSE)


def forget_peak(pid: int) -> None:
    """Has Linux count a process's highest resident memory from now on."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_megabytes(pid: int) -> float:
    """The highest resident memory of a process since then."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
