"""Load at a given rate, measured from the time each request was due, not sent."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reply:
    """The result of a request.

    Attributes:
      version: The version that answered, if the reply gives it; 0 otherwise.
      store_away: Whether Redis was unavailable.
      error: What went wrong; empty if nothing did.
    """

    version: int = 0
    store_away: bool = False
    error: str = ""


Send = Callable[[int], Reply]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One answered or failed request.

    Attributes:
      due: Seconds from the start of the load to the time when it was due.
      seconds: Seconds from then to the answer, including waiting for other requests.
      reply: The result.
    """

    due: float
    seconds: float
    reply: Reply


@dataclasses.dataclass(frozen=True)
class Measured:
    """The outcomes of a period."""

    outcomes: Sequence[Outcome]

    @property
    def failures(self) -> Counter[str]:
        """The number of each error."""
        return Counter(o.reply.error for o in self.outcomes if o.reply.error)

    def milliseconds(self, *percents: float) -> list[float]:
        """Percentiles of the time to the answer; NaN without answers."""
        times = [o.seconds * 1e3 for o in self.outcomes if not o.reply.error]
        return np.percentile(times, percents).tolist() if times else [float("nan")] * len(percents)

    def between(self, start: float, end: float) -> Measured:
        """The outcomes that were due in an interval."""
        return Measured([o for o in self.outcomes if start <= o.due < end])


def closed_loop(send: Send, clients: int, seconds: float) -> float:
    """Requests per second of clients that each send one request after the other."""
    ended = time.monotonic() + seconds
    numbers = itertools.count()
    done = Counter[bool]()
    lock = threading.Lock()

    def client() -> None:
        while time.monotonic() < ended:
            good = not send(next(numbers)).error
            with lock:
                done[good] += 1

    _together([client] * clients)
    return done[True] / seconds


def open_loop(
    send: Send, rate: float, seconds: float, workers: int, stop: threading.Event | None = None
) -> Measured:
    """The outcomes of requests that are due evenly at a given rate.

    Args:
      send: Sends the request of a number.
      rate: Requests per second.
      seconds: Duration.
      workers: Maximum number of requests in flight; the waiting of others counts as their time.
      stop: Ends the load early when set.
    """
    began = time.monotonic()
    numbers = itertools.count()  # its next() is atomic in the interpreter
    parts: list[list[Outcome]] = [[] for _ in range(workers)]

    def worker(part: list[Outcome]) -> None:
        while True:
            number = next(numbers)
            due = number / rate
            if due >= seconds or (stop is not None and stop.is_set()):
                return
            wait = began + due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            reply = send(number)
            part.append(Outcome(due, time.monotonic() - began - due, reply))

    _together([functools.partial(worker, part) for part in parts])
    return Measured(sorted((o for part in parts for o in part), key=lambda o: o.due))


def highest_rate(
    send: Send, start: float, seconds: float, workers: int, most_ms: float
) -> tuple[float, list[tuple[float, float, int]]]:
    """The highest rate that was held, and every rate tried with its p99 and failures.

    A rate is held if nothing fails and the 99th percentile stays within a bound. Rates rise by a
    tenth as long as they are held; if not even `start` is held, they fall until one is.

    Raises:
      RuntimeError: No rate was held, or no highest rate was found.
    """
    tried: list[tuple[float, float, int]] = []

    def held(rate: float) -> bool:
        measured = open_loop(send, rate, seconds, workers)
        (slow,) = measured.milliseconds(99)
        failed = sum(measured.failures.values())
        tried.append((rate, slow, failed))
        return not failed and slow <= most_ms

    factor = 1.1 if held(start) else 0.9
    for step in range(1, 12):
        rate = start * factor**step
        if held(rate) is (factor < 1):
            return (rate if factor < 1 else start * factor ** (step - 1)), tried
    raise RuntimeError(f"no highest rate among those tried: {tried}")


def _together(jobs: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
