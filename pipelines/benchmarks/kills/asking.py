"""A client that repeats the same request to a server and keeps every answer."""

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
    """The result of one request.

    Attributes:
      start, end: When it was sent and answered, by `time.monotonic()`.
      version: The version that answered; 0 if none did.
      scores: Scores of the candidates in the order of the request.
      error: Why there are no scores.
      cut: Whether the connection failed, as it does when no server listens.
    """

    start: float
    end: float
    version: int = 0
    scores: tuple[float, ...] = ()
    error: str = ""
    cut: bool = False


class Asker:
    """Requests the status, then a ranking, repeatedly in a separate thread.

    Args:
      body: Body of POST /rank.

    Attributes:
      answers: Answers to /rank and failed answers to status requests, in their order.
      available: Versions that any status reported as AVAILABLE.
      version: The version that answered last.
    """

    def __init__(self, body: bytes):
        self.answers: list[Answer] = []
        self.available: set[int] = set()
        self.version = 0
        self._body = body

    @contextlib.contextmanager
    def asking(self, address: str) -> Iterator[None]:
        """Sends requests to the server at an address until the block ends."""
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
                problem = f"{type(error).__name__}: {error}"
                answer = Answer(started, time.monotonic(), error=problem, cut=True)
            except (ValueError, KeyError, TypeError) as error:
                problem = f"{type(error).__name__}: {error}"
                answer = Answer(started, time.monotonic(), error=problem)
            self.answers.append(answer)
            stop.wait(PAUSE)


def status(address: str) -> States:
    """State and message of every version that a server reports.

    Raises:
      OSError, http.client.HTTPException: The server does not answer.
      ValueError: The answer is an error.
    """
    versions = call(address, "GET", f"/v1/models/{MODEL}")["model_version_status"]
    return {int(v["version"]): (v["state"], v["status"]["error_message"]) for v in versions}


def read_ranked(reply: Mapping[str, Any]) -> tuple[int, tuple[float, ...]]:
    """The version of a reply to /rank, and the scores in the order of the request."""
    ranked = sorted(reply["ranked"], key=lambda item: item["index"])
    return int(reply["version"]), tuple(float(item["score"]) for item in ranked)


def call(address: str, verb: str, path: str, body: bytes | None = None) -> Any:
    """The JSON of a reply over a separate connection; errors as in `status`."""
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
