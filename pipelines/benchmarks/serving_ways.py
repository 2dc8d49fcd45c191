"""The ways to rank one list, each as a function to time."""

from __future__ import annotations

import dataclasses
import http.client
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmrank.data.media import open_media
from mmrank.data.tables import Dataset
from mmrank.serving.card import Card
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import Arrays
from mmrank.serving.staged import StagedRanker

Call = Callable[[int], None]
LOOKED_UP, STEPS, ENCODED = (
    "in process, rank_items",
    "in process, steps",
    "in process, raw features",
)
REST, GRPC, TREES = "REST /rank", "gRPC rank_items", "LightGBM predict"
EVENTS = 10


@dataclasses.dataclass(frozen=True)
class Lists:
    """Requests for lists of one length, each with a new query.

    Attributes:
      card: Card of the export.
      dataset: Dataset of the queries, users and items.
      items: Ids of the candidates.
      texts: Queries, to which the request's number is added.
      users: User ids; empty if the ranker reads none.
      events: Events of the user, (item, type, days).
    """

    card: Card
    dataset: Dataset
    items: list[str]
    texts: list[str]
    users: list[str]
    events: list[tuple[str, str, float]]

    @classmethod
    def draw(cls, card: Card, dataset: Dataset, size: int, seed: int) -> Lists:
        """Requests with `size` candidates of a catalogue; some are repeated if it has fewer."""
        generator = np.random.default_rng(seed)
        ids = np.array(dataset.item_ids, object)
        items = list(generator.choice(ids, size, replace=size > len(ids)))
        texts = [f"{i}" for i in range(50)]
        column = _column(dataset, card, "query")
        if column is not None:
            texts = list(dict.fromkeys(dataset.lists[column].dropna().astype(str)))[:200]
        user = _column(dataset, card, "user")
        users = (
            [] if user is None else list(dataset.lists[user].dropna().astype(str).unique()[:200])
        )
        events = []
        if card.inputs.history is not None:
            picked = generator.choice(ids, EVENTS)
            events = [(str(item), "view", float(i + 1)) for i, item in enumerate(picked)]
        return cls(card, dataset, [str(i) for i in items], texts, users, events)

    def asked(self, number: int) -> dict[str, Any]:
        """The request with a given number, for `StagedRanker.rank`, without candidates."""
        asked: dict[str, Any] = {}
        if self.card.names("query"):
            asked["query"] = f"{self.texts[number % len(self.texts)]} {number}"
        if self.users:
            asked["user"] = self.users[number % len(self.users)]
        if self.events:
            asked["history"] = self.events
        return asked

    def by_id(self, number: int) -> Arrays:
        """The same request for `rank_items`."""
        return self.contexts(number) | self.candidates()

    def raw(self, number: int) -> Arrays:
        """The same request for `serving_default`, with every item's raw features."""
        inputs, columns = self.card.inputs, self.card.names("item")
        catalog = self.dataset.catalog.set_index(self.dataset.schema.catalog.item).loc[self.items]
        media = open_media(self.dataset)
        source = {f.name: f.column for f in self.dataset.schema.features}
        rows: list[Mapping[str, Any]] = []
        for _, item in catalog.iterrows():
            values = {name: item[source[name]] for name in columns}
            for name in columns:
                if inputs.columns[name].media and isinstance(values[name], str):
                    data = media.read(values[name])
                    problem = None if data is None else _problem(inputs.columns[name], data)
                    values[name] = data if problem is None else None
            rows.append(values)
        features = inputs.rows(("item",), rows, [f"item {i}" for i in self.items])
        arrays = self.contexts(number) | self._pairs()
        arrays |= {n: a[None] for n, a in features.items()}
        return arrays | {"list_length": np.array([len(self.items)], np.int32)}

    def candidates(self) -> Arrays:
        """The part of `by_id` that all requests have in common."""
        return self._pairs() | {"items": np.array([self.items], object)}

    def contexts(self, number: int) -> Arrays:
        """The query, user and history of a request, as inputs of a signature."""
        inputs, asked = self.card.inputs, self.asked(number)
        arrays = inputs.context("query", asked.get("query")) | inputs.context(
            "user", asked.get("user")
        )
        return arrays | inputs.events(asked.get("history"))

    def _pairs(self) -> Arrays:
        rows = self.card.inputs.rows(("pair",), [{}] * len(self.items), self.items)
        return {n: a[None] for n, a in rows.items()}


def _column(dataset: Dataset, card: Card, side: str) -> str | None:
    """The column of the first text or id of a side."""
    names = [n for n in card.names(side) if not card.inputs.columns[n].media]
    if not names:
        return None
    return next(f.column for f in dataset.schema.features if f.name == names[0])


def _problem(column: Any, data: bytes) -> str | None:
    try:
        column.raw(data, "")
    except ValueError as error:
        return str(error)
    return None


def in_process(
    ranker: Ranker, staged: StagedRanker, lists: Lists, encodings: int
) -> dict[str, Call]:
    """Ways without a server.

    Args:
      ranker: The export.
      staged: The same export for staged ranking.
      lists: The requests.
      encodings: Number of different requests with raw features to make in advance.
    """
    raw = [lists.raw(i) for i in range(encodings)]
    return {
        LOOKED_UP: lambda i: _done(ranker.run("rank_items", lists.by_id(i))),
        STEPS: lambda i: _done(staged.rank(candidates=lists.items, **lists.asked(i))),
        ENCODED: lambda i: _done(ranker.run("serving_default", raw[i % encodings])),
    }


def _done(result: Any) -> None:
    assert result is not None


def over_rest(address: str, lists: Lists) -> Call:
    """POST /rank, with a separate connection per thread."""
    import orjson

    threads = threading.local()

    def call(number: int) -> None:
        if not hasattr(threads, "connection"):
            threads.connection = http.client.HTTPConnection(address, timeout=60)
        asked = lists.asked(number) | {"candidates": lists.items}
        threads.connection.request("POST", "/rank", orjson.dumps(asked))
        with threads.connection.getresponse() as reply:
            ranked = orjson.loads(reply.read()).get("ranked", ())
        if len(ranked) != len(lists.items):
            raise RuntimeError(f"/rank: {reply.status}, {len(ranked)} of {len(lists.items)} ranked")

    return call


def over_grpc(address: str, model: str, lists: Lists) -> Call:
    """`rank_items` by the Predict call of TensorFlow Serving's API, over one channel.

    The common part of all requests is in a message made in advance, so that the time in which the
    client packs candidates is not measured.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))

    def pack(request: Any, arrays: Arrays) -> None:
        for name, value in arrays.items():
            dtype = tf.string if value.dtype == object else None
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))

    candidates = predict_pb2.PredictRequest()
    candidates.model_spec.name, candidates.model_spec.signature_name = model, "rank_items"
    pack(candidates, lists.candidates())

    def call(number: int) -> None:
        request = predict_pb2.PredictRequest()
        request.CopyFrom(candidates)
        pack(request, lists.contexts(number))
        scores = tf.make_ndarray(stub.Predict(request, timeout=60).outputs["scores"])
        if scores.shape != (1, len(lists.items)):
            raise RuntimeError(f"rank_items: scores of the shape {scores.shape}")

    return call
