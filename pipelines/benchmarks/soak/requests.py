"""Requests like those of users, drawn from a dataset's lists, over REST and gRPC."""

from __future__ import annotations

import dataclasses
import http.client
import json
import pathlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset, load_dataset
from mmrank.server.proto_tensors import to_proto
from mmrank.serving.card import Card, read_card
from pipelines.benchmarks.soak.load import Reply

MODEL, SIGNATURE = "ranker", "rank_items"
EVENTS, DAY = 20, 86_400.0
TIMEOUT = 10.0
# An idle connection may be closed by the server just when it is used again.
MOST_IDLE = 2.0
# Shares of the kinds of requests.
KINDS = {"rank": 0.7, "rest": 0.15, "grpc": 0.15}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One list of candidates in each form: bodies of /rank and of predict, and a message."""

    ids: frozenset[str]
    rank: bytes
    predict: bytes
    message: predict_pb2.PredictRequest


class Requests:
    """Requests that are ready to send.

    Args:
      export: The export whose features they have.
      data: The dataset that they are drawn from.
      candidates: Items per list.
      count: Number of different requests.
      seed: Random seed.
    """

    def __init__(
        self, export: pathlib.Path, data: pathlib.Path, candidates: int, count: int, seed: int
    ):
        card, dataset = read_card(export), load_dataset(data)
        draw = np.random.default_rng(seed)
        rows = dataset.lists
        starts = run_starts(rows[dataset.schema.lists.list].to_numpy())
        chosen = draw.choice(starts, count, replace=len(starts) < count)
        size = min(candidates, len(dataset.item_ids))
        self.prepared = [
            _prepare(card, dataset, row, draw.choice(dataset.item_ids, size, replace=False))
            for _, row in rows.iloc[chosen].iterrows()
        ]
        self._kinds = draw.choice(list(KINDS), 4096, p=list(KINDS.values()))

    def kind(self, number: int) -> str:
        """The kind of the request with a given number."""
        return str(self._kinds[number % len(self._kinds)])

    def of(self, number: int) -> Prepared:
        """The list of the request with a given number."""
        return self.prepared[number % len(self.prepared)]


class Client:
    """Sends requests, with a separate connection per thread.

    Args:
      requests: The requests to send.
      rest_port, grpc_port: Ports of the server, on loopback.
    """

    def __init__(self, requests: Requests, rest_port: int, grpc_port: int):
        self._requests, self._port = requests, rest_port
        self._own = threading.local()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._send: Mapping[str, Callable[[Prepared], Reply]] = {
            "rank": self._rank,
            "rest": self._rest,
            "grpc": self._grpc,
        }

    def send(self, number: int) -> Reply:
        """The reply to the request with a given number; never raises."""
        kind = self._requests.kind(number)
        try:
            return self._send[kind](self._requests.of(number))
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self._own.connection = None
            return Reply(error=f"{kind}: {type(error).__name__}: {error}")
        except grpc.RpcError as error:
            return Reply(error=f"{kind}: {error.code().name}: {error.details()}")

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _rank(self, prepared: Prepared) -> Reply:
        reply = self._post("/rank", prepared.rank)
        if {item["item"] for item in reply["ranked"]} != prepared.ids:
            return Reply(error="rank: the items of the reply differ from those of the request")
        return Reply(int(reply["version"]), bool(reply["store_away"]))

    def _rest(self, prepared: Prepared) -> Reply:
        reply = self._post(f"/v1/models/{MODEL}:predict", prepared.predict)
        outputs = reply["outputs"]
        scores = outputs["scores"] if isinstance(outputs, dict) else outputs
        if len(scores[0]) != len(prepared.ids):
            return Reply(error="rest: the reply does not have a score for each candidate")
        return Reply()

    def _grpc(self, prepared: Prepared) -> Reply:
        reply = self._stub.Predict(prepared.message, timeout=TIMEOUT)
        if reply.outputs["scores"].tensor_shape.dim[1].size != len(prepared.ids):
            return Reply(error="grpc: the reply does not have a score for each candidate")
        return Reply(int(reply.model_spec.version.value))

    def _post(self, path: str, body: bytes) -> Any:
        connection = getattr(self._own, "connection", None)
        now = time.monotonic()
        if connection is None or now - self._own.used > MOST_IDLE:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
            self._own.connection = connection
        connection.request("POST", path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        self._own.used = time.monotonic()
        if reply.status != 200:
            raise ValueError(f"status {reply.status}: {text[:200].decode(errors='replace')}")
        return json.loads(text)


def _prepare(card: Card, dataset: Dataset, row: Any, ids: np.ndarray) -> Prepared:
    features = {
        side: {
            f.name: _plain(row[f.column])
            for f in dataset.schema.side(side)
            if f.name in card.inputs.columns and not card.inputs.columns[f.name].media
        }
        for side in ("query", "user")
    }
    history = _history(dataset, row) if card.inputs.history is not None else []
    body = {**features, "history": history, "candidates": ids.tolist()}
    arrays = card.inputs.context("query", features["query"])
    arrays |= card.inputs.context("user", features["user"]) | card.inputs.events(history)
    pairs = card.inputs.rows(("pair",), [{}] * len(ids), [""] * len(ids))
    arrays |= {n: a[None] for n, a in pairs.items()} | {"items": ids.astype(object)[None]}
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = MODEL, SIGNATURE
    for name, value in arrays.items():
        message.inputs[name].CopyFrom(to_proto(value))
    columnar = {n: a.tolist() for n, a in arrays.items()}
    return Prepared(
        frozenset(ids.tolist()),
        json.dumps(body).encode(),
        json.dumps({"signature_name": SIGNATURE, "inputs": columnar}).encode(),
        message,
    )


def _history(dataset: Dataset, row: Any) -> list[dict[str, Any]]:
    """The latest events of a list's user before the list."""
    schema, events = dataset.schema, dataset.events
    if events is None or schema.events is None or schema.lists.user is None or "_time" not in row:
        return []
    mine = events[events[schema.events.user] == row[schema.lists.user]]
    past = mine[(mine["_time"] < row["_time"]) & (mine["_item"] >= 0)].tail(EVENTS)
    kind = schema.events.type
    return [
        {
            "item": str(event[schema.events.item]),
            "type": "" if kind is None else str(event[kind]),
            "age_days": float(row["_time"] - event["_time"]) / DAY,
        }
        for _, event in past.iterrows()
    ]


def _plain(value: Any) -> Any:
    """A cell as a JSON value."""
    if isinstance(value, float) and value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value
