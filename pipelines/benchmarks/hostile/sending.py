"""Sends hostile requests and judges the answers."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

import grpc
import httpx

from pipelines.benchmarks.hostile import (
    bodies,
    costly,
    examples,
    files,
    grpc_calls,
    large,
    messages,
    pages,
    rank,
    rest,
)
from pipelines.benchmarks.hostile.grpc_calls import GrpcCall
from pipelines.benchmarks.hostile.rest import RawRequest, RestRequest
from pipelines.benchmarks.hostile.target import Target

Request = RestRequest | GrpcCall | RawRequest
REST_MAKERS = (
    *rest.MAKERS,
    *examples.REST_MAKERS,
    *costly.REST_MAKERS,
    *bodies.REST_MAKERS,
    *files.REST_MAKERS,
    *pages.MAKERS,
)
GRPC_MAKERS = (
    *grpc_calls.MAKERS,
    *examples.GRPC_MAKERS,
    *costly.GRPC_MAKERS,
    *messages.GRPC_MAKERS,
    *files.GRPC_MAKERS,
)
RAW_MAKERS = (rank.raw, rank.raw, *bodies.RAW_MAKERS)
ALL_MAKERS: tuple[Callable[[random.Random, Target], Request], ...] = tuple(
    dict.fromkeys((*REST_MAKERS, *GRPC_MAKERS, *RAW_MAKERS, *rank.MAKERS))
)
SHORTEST = 12  # least length of a useful message
PREPARATIONS = 5
RAW_SHARE, GRPC_SHARE, RANK_SHARE = 0.03, 0.4, 0.2
BLAMED = frozenset(
    "INVALID_ARGUMENT NOT_FOUND UNAUTHENTICATED PERMISSION_DENIED RESOURCE_EXHAUSTED "
    "FAILED_PRECONDITION OUT_OF_RANGE UNIMPLEMENTED".split()
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of one request.

    Attributes:
      kind: What was wrong with the request.
      code: The HTTP status or gRPC code.
      message: The server's message.
      fault: Why the answer is wrong; None if it is right.
    """

    kind: str
    code: str
    message: str
    fault: str | None


class Sender:
    """Clients of one server, created when it answers good requests. Several threads may `send`.

    Args:
      target: The server.
      large: Whether the requests are from `large`.
    """

    def __init__(self, target: Target, large: bool = False):
        self._target, self._large = target, large
        self._local = threading.local()
        url = urllib.parse.urlsplit(target.rest)
        self._address = (url.hostname or "", url.port or 80)
        self._channel = grpc.insecure_channel(
            target.grpc,
            options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
        )
        # A signature's first request prepares its graph; the export does not warm up all of them.
        for _ in range(PREPARATIONS):
            if not self.good():
                break

    def make(self, n: int, rng: random.Random, kind: str | None = None) -> Request | None:
        """The nth hostile request; None if it is not of the required kind.

        The first requests are one of each maker, so that a short run omits none.
        """
        share = rng.random()
        made: Request
        if self._large:
            made = rng.choice(large.MAKERS)(rng, self._target)
        elif n < len(ALL_MAKERS):
            made = ALL_MAKERS[n](rng, self._target)
        elif share < RAW_SHARE:
            made = rng.choice(RAW_MAKERS)(rng, self._target)
        elif share < RAW_SHARE + GRPC_SHARE:
            made = rng.choice(GRPC_MAKERS)(rng, self._target)
        elif share < RAW_SHARE + GRPC_SHARE + RANK_SHARE:
            made = rng.choice(rank.MAKERS)(rng, self._target)
        else:
            made = rng.choice(REST_MAKERS)(rng, self._target)
        return made if kind is None or kind in made.kind else None

    def send(self, request: Request) -> Answer:
        """The server's answer to a hostile request."""
        if isinstance(request, RawRequest):
            return self._raw(request)
        if isinstance(request, GrpcCall):
            return self._call(request)
        return self._rest(request)

    def good(self) -> list[str]:
        """What was wrong with the answers to some good requests; empty if nothing was."""
        target = self._target
        headers = {"x-api-key": target.keys["rank"]}
        wrong = []
        asked: list[tuple[str, Any]] = [("/rank", rank.good(target))]
        asked.append(("/feedback", pages.good(target)))
        path = f"/v1/models/{target.model}:predict"
        asked += [
            (path, rest.good(target, name, form))
            for name in sorted(target.signatures)
            for form in ("inputs", "instances")
        ]
        calls = [
            grpc_calls.predict(f"gRPC {name}", target, grpc_calls.good(target, name))
            for name in sorted(target.signatures)
        ]
        if examples.SIGNATURE in target.serialized:
            asked += [(r.path, json.loads(r.body)) for r in examples.good_rest(target)]
            calls += examples.good_grpc(target)
        for where, body in asked:
            reply = self._client().post(where, json=body, headers=headers)
            if reply.status_code != 200:
                wrong.append(f"{where}: {reply.status_code}: {reply.text[:200]}")
        for call in calls:
            answer = self._call(call)
            if answer.code != "OK":
                wrong.append(f"{call.kind}: {answer.code}: {answer.message[:200]}")
        return wrong

    def _rest(self, request: RestRequest) -> Answer:
        try:
            reply = self._client().request(
                request.method,
                f"{self._target.rest}{request.path}",
                content=request.body,
                headers=dict(request.headers),
            )
        except httpx.HTTPError as error:
            return Answer(request.kind, type(error).__name__, str(error), "no answer")
        status = reply.status_code
        fault = None if 400 <= status < 500 else "not a 4xx"
        if request.answered and status < 300:
            return Answer(request.kind, str(status), "", None)
        message = reply.text[:2000]
        if fault is None:
            try:
                message = reply.json()["error"]
            except (ValueError, KeyError, TypeError):
                fault = "no error message in JSON"
            else:
                fault = _useless(message)
        return Answer(request.kind, str(status), str(message), fault)

    def _call(self, call: GrpcCall) -> Answer:
        method = self._channel.unary_unary(call.method)
        packing = grpc.Compression.Gzip if call.packed else grpc.Compression.NoCompression
        try:
            method(call.message, metadata=call.metadata, timeout=60, compression=packing)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            fault = None if code in BLAMED else "not the client's fault"
            if code in BLAMED and (call.explained or details):
                fault = _useless(details)
            return Answer(call.kind, code, details, fault)
        return Answer(call.kind, "OK", "", None if call.answered else "was answered")

    def _raw(self, request: RawRequest) -> Answer:
        kind, data, received = request.kind, request.data, b""
        with socket.create_connection(self._address, timeout=60) as connection:
            try:
                connection.sendall(data)
                while part := connection.recv(65536):
                    received += part
                    if b"\r\n\r\n" in received:
                        break
            except ConnectionError:
                if not received:
                    return Answer(kind, "reset", "", None if len(data) > 65536 else "no answer")
        line = received.split(b"\r\n", 1)[0].decode("latin-1")
        status = line.split(" ")[1] if line.startswith("HTTP/1.1 ") else "none"
        good = status.startswith("4") or (request.answered and status.startswith("2"))
        return Answer(
            kind, status, received.decode("latin-1")[-200:], None if good else "not a 4xx"
        )

    def _client(self) -> httpx.Client:
        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(base_url=self._target.rest, timeout=60)
        client: httpx.Client = self._local.client
        return client


def _useless(message: Any) -> str | None:
    """Why a message is not useful to the client; None if it is."""
    if not isinstance(message, str) or len(message) < SHORTEST:
        return "no message of use"
    if "Traceback" in message or "internal error" in message.lower() or "\n" in message.strip():
        return "the server's innards in the message"
    try:
        json.dumps(message)
    except ValueError:
        return "a message that is no text"
    return None
