"""Measures through /healthz how long the server's event loop blocks during hostile requests."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.sharedctypes
import multiprocessing.synchronize
import time
from types import TracebackType

import httpx

PAUSE = 0.005  # seconds between two requests
ENDS_WITHIN = 70  # seconds: the client's own timeout, and some more

# A forked child would inherit the client's threads and locks.
_context = multiprocessing.get_context("spawn")


class Probe:
    """Requests /healthz repeatedly from a process of its own while its `with` block runs.

    In a thread of the clients' process, it would wait for their interpreter lock while they make
    large requests. The time still includes waiting for a processor, so it is an upper bound.

    Args:
      rest: Base URL of the server.

    Attributes:
      waits: Seconds of each answer; empty until the block ends.
      failed: Number of requests without an answer; zero until the block ends.
    """

    def __init__(self, rest: str):
        self.waits: list[float] = []
        self.failed = 0
        self._longest = _context.Value("d", 0.0)
        self._stop = _context.Event()
        self._ours, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_ask, args=(rest, self._longest, self._stop, theirs), daemon=True
        )

    def __enter__(self) -> Probe:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._ours.poll(ENDS_WITHIN):
            self.waits, self.failed = self._ours.recv()
        self._process.join(ENDS_WITHIN)

    def longest(self) -> float:
        """The longest wait in seconds; resets the measurement."""
        with self._longest.get_lock():
            most, self._longest.value = self._longest.value, 0.0
        return most

    def report(self) -> str:
        """The figures in one line."""
        if not self.waits:
            return "the probe got no answer"
        waits = sorted(self.waits)
        middle, most = waits[len(waits) // 2], waits[-1]
        high = waits[int(0.999 * (len(waits) - 1))]
        return (
            f"/healthz meanwhile: {len(waits):,} answers, {self.failed} failed; median "
            f"{1000 * middle:.1f} ms, 99.9% {1000 * high:.0f} ms, longest {1000 * most:.0f} ms"
        )


def _ask(
    rest: str,
    longest: multiprocessing.sharedctypes.Synchronized[float],
    stop: multiprocessing.synchronize.Event,
    results: multiprocessing.connection.Connection,
) -> None:
    """Requests /healthz until `stop` is set; sends the seconds of each answer, and the failures."""
    waits: list[float] = []
    failed = 0
    with httpx.Client(base_url=rest, timeout=60) as client:
        while not stop.is_set():
            started = time.monotonic()
            try:
                client.get("/healthz").raise_for_status()
                waits.append(time.monotonic() - started)
                with longest.get_lock():
                    longest.value = max(longest.value, waits[-1])
            except httpx.HTTPError:
                failed += 1
            time.sleep(PAUSE)
    results.send((waits, failed))
