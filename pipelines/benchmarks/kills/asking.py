"""A client that asks a server the same thing over and over, and keeps every answer."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

PAUSE, TIMEOUT = 0.1, 60.0  # seconds
MODEL = "ranker"
AVAILABLE = "AVAILABLE"
States = dict[int, tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
      start, end: When it was sent and answered, by `time.monotonic()`.
      version: That answered; 0 if none did.
      scores: Of the candidates in the order of the request.
      error: Why there are none.
      cut: Whether the connection failed, as it does when nobody listens.
    """

    start: float
    end: float
    version: int = 0
    scores: tuple[float, ...] = ()
    error: str = ""
    cut: bool = False


class Asker:
    """Asks for the status, then for a ranking, in a thread of its own.

    Args:
      body: Of POST /rank.

    Attributes:
      answers: To /rank and, of the status, those that failed, in their order.
      available: Versions that any status called AVAILABLE.
      version: That answered last.
    """

    def __init__(self, body: bytes):
        self.answers: list[Answer] = []
        self.available: set[int] = set()
        self.version = 0
        self._body = body

    @contextlib.contextmanager
    def asking(self, address: str) -> Iterator[None]:
        """Asks the server at an address until the block ends."""
        stop = threading.Event()
        self.version = 0
        thread = threading.Thread(target=self._ask, args=(address, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _ask(self, address: str, stop: threading.Event) -> None:
        while not stop.is_set():
            started = time.monotonic()
            try:
                states = status(address)
                self.available |= {n for n, (state, _) in states.items() if state == AVAILABLE}
                started = time.monotonic()
                version, scores = read_ranked(call(address, "POST", "/rank", self._body))
                self.version = version
                answer = Answer(started, time.monotonic(), version, scores)
            except (OSError, http.client.HTTPException) as error:
                told = f"{type(error).__name__}: {error}"
                answer = Answer(started, time.monotonic(), error=told, cut=True)
            except (ValueError, KeyError, TypeError) as error:
                told = f"{type(error).__name__}: {error}"
                answer = Answer(started, time.monotonic(), error=told)
            self.answers.append(answer)
            stop.wait(PAUSE)


def status(address: str) -> States:
    """State and message of every version that a server tells of.

    Raises:
      OSError, http.client.HTTPException: Nobody answers.
      ValueError: The answer is an error.
    """
    told = call(address, "GET", f"/v1/models/{MODEL}")["model_version_status"]
    return {int(v["version"]): (v["state"], v["status"]["error_message"]) for v in told}


def read_ranked(reply: Mapping[str, Any]) -> tuple[int, tuple[float, ...]]:
    """The version of a reply to /rank, and the scores in the order of the request."""
    places = sorted(reply["ranked"], key=lambda place: place["index"])
    return int(reply["version"]), tuple(float(place["score"]) for place in places)


def call(address: str, verb: str, path: str, body: bytes | None = None) -> Any:
    """The JSON of a reply over a connection of its own; errors as of `status`."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    try:
        connection.request(verb, path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise ValueError(f"status {reply.status}: {text[:200].decode(errors='replace')}")
        return json.loads(text)
    finally:
        connection.close()
