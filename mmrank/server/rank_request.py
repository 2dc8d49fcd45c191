"""Converts the JSON of POST /rank to the ranker's inputs, and its results to JSON."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from mmrank.data.kinds import KINDS
from mmrank.schema import did_you_mean
from mmrank.server.decoding.pool import SentFile
from mmrank.server.errors import INVALID_ARGUMENT, ServingError
from mmrank.server.json_tensors import decoded
from mmrank.serving.candidates import ITEM
from mmrank.serving.card import Card
from mmrank.serving.request import Column
from mmrank.serving.staged import StagedList

DIGITS = 6  # decimal places of effects and shares


@dataclasses.dataclass(frozen=True)
class RankRequest:
    """The JSON of a request.

    Attributes:
      query: A text, or features by name.
      candidates: Item ids and products.
      user: A user id, or features by name.
      history: Events, each {"item", "type", "age_days"} or a list of these three.
      explain: Whether each modality's share is requested.
      rerank: Whether the export's policy rearranges the page.
      interleave: Labels of the two versions whose orders the page is interleaved from; empty for
        those that the server is configured with, None for an ordinary page.
      version, label: The requested version, by number or by label; None if the request names none.
    """

    candidates: Sequence[Any]
    query: Any = None
    user: Any = None
    history: Sequence[Any] | None = None
    explain: bool = False
    rerank: bool = False
    interleave: Sequence[str] | None = None
    version: int | None = None
    label: str | None = None


_TYPES = {
    "candidates": (list, "a list of item ids and products"),
    "history": (list, "a list of events"),
    "explain": (bool, "true or false"),
    "rerank": (bool, "true or false"),
    "version": (int, "a whole number"),
    "label": (str, "a text"),
}


def read_request(body: Mapping[str, Any], most: int, explained: int) -> RankRequest:
    """Returns the request in a JSON object.

    Args:
      body: The object. A key whose value is null counts as missing.
      most: Largest number of candidates, and of history events, in one request.
      explained: Largest number of candidates in a request with `explain`.

    Raises:
      ServingError: A key is unknown, missing or of the wrong type, or a list is too long.
    """
    known = [f.name for f in dataclasses.fields(RankRequest)]
    given = {k: v for k, v in body.items() if v is not None}
    for key in body:
        if key not in known:
            raise _wrong(f"unknown key {key[:60]!r}{did_you_mean(key, known)}")
    if "candidates" not in given:
        raise _wrong('"candidates" is missing: a list of item ids and products')
    for key, (kind, words) in _TYPES.items():
        if key in given and type(given[key]) is not kind:
            raise _wrong(f'"{key}": expected {words}')
    for key in ("candidates", "history"):
        if len(given.get(key, ())) > most:
            raise _wrong(f'"{key}": {len(given[key])} of them; send at most {most}')
    if given.get("explain") and len(given["candidates"]) > explained:
        raise _wrong(f'"explain": send at most {explained} candidates with it')
    return RankRequest(**{**given, "interleave": _labels(given)})


def _labels(given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the labels of a request for an interleaved page; see `RankRequest.interleave`."""
    value = given.get("interleave", False)
    if value is False:
        return None
    if value is not True:
        two = isinstance(value, list) and len(value) == 2
        if not two or not all(isinstance(label, str) for label in value):
            raise _wrong('"interleave": expected true, or a list of two labels')
    for key in ("rerank", "explain", "version", "label"):
        if given.get(key, False) is not False:
            raise _wrong(f'"interleave": leave out "{key}", which does not go with it')
    return () if value is True else tuple(value)


@dataclasses.dataclass(frozen=True)
class RankInputs:
    """The inputs in a request, with its files as bytes.

    Attributes:
      query, user: Features by name.
      candidates: Item ids and products.
    """

    query: dict[str, Any]
    user: dict[str, Any]
    candidates: list[Any]

    def files(self, card: Card) -> list[tuple[dict[str, Any], str, SentFile]]:
        """Returns each file, with the row that holds it and the name of its feature."""
        found = []
        locations = ["query", "user", *(f"candidate {i}" for i in range(len(self.candidates)))]
        for where, row in zip(locations, (self.query, self.user, *self.candidates), strict=True):
            if not isinstance(row, dict):
                continue
            for name, value in row.items():
                if isinstance(value, bytes) and value:
                    form = card.inputs.columns[name].form
                    found.append((row, name, SentFile(f"{where}: {name}", value, form)))
        return found


def read_inputs(card: Card, asked: RankRequest) -> RankInputs:
    """Returns the inputs in a request, for the ranker that the card describes.

    Raises:
      ServingError: A feature is unknown, or its value has the wrong form.
    """
    query, user = (read_features(card, s, getattr(asked, s)) for s in ("query", "user"))
    return RankInputs(query, user, read_products(card, asked.candidates))


def read_features(card: Card, side: str, value: Any) -> dict[str, Any]:
    """Returns the features of the query or the user by name.

    `value` is a mapping by name, or the value of one feature if there is only one that fits. Files
    are given as {"b64": "..."}. Paths are refused, since they would refer to the server's own disk.

    Raises:
      ServingError: A feature is unknown, its value has the wrong form, or a value without a name
        does not fit exactly one feature.
    """
    if value is None:
        return {}
    columns = [c for c in card.inputs.columns.values() if c.side == side]
    if isinstance(value, Mapping) and set(value) != {"b64"}:
        return _decoded({c.name: c for c in columns}, value, side)
    media = isinstance(value, Mapping)
    fitting = [c for c in columns if c.media == media]
    likely = [c for c in fitting if KINDS[c.kind].typed] or fitting
    if len(likely) != 1:
        names = ", ".join(c.name for c in columns) or "none"
        raise _wrong(f'"{side}": name the feature, as in {{"NAME": ...}}; known: {names}')
    return _decoded({likely[0].name: likely[0]}, {likely[0].name: value}, side)


def read_products(card: Card, candidates: Sequence[Any]) -> list[Any]:
    """Returns the candidates with the files in products as bytes; errors as in `read_features`."""
    columns = {n: c for n, c in card.inputs.columns.items() if c.side in ("item", "pair")}
    return [
        _decoded(columns, c, f"candidate {i}") if isinstance(c, Mapping) else c
        for i, c in enumerate(candidates)
    ]


def _decoded(columns: Mapping[str, Column], row: Mapping[str, Any], where: str) -> dict[str, Any]:
    read = dict(row)
    for name, value in row.items():
        column = columns.get(name)
        if column is None and name != ITEM:
            near = did_you_mean(name, [*columns, ITEM])
            raise _wrong(f"{where}: unknown feature {name[:60]!r}{near}")
        if column is not None and column.media and value is not None:
            read[name] = decoded(f"{where}: {name}", value)
    return read


def write_reply(
    model: str, version: int, ranked: StagedList, page: Mapping[str, Any], order: np.ndarray
) -> bytes:
    """Returns the JSON reply: the candidates in an order, and how they were scored.

    Args:
      model, version: What ranked them.
      ranked: The scores.
      page: What a reply says about a page in addition; empty for a plain list.
      order: Indices of the candidates by position, [n] int.
    """
    shares = ranked.shares
    outputs = {n: v[order].tolist() for n, v in ranked.outputs.items()}
    scores = ranked.scores[order].tolist()
    entries: list[dict[str, Any]] = []
    for at, index in enumerate(order.tolist()):
        item: dict[str, Any] = {
            "item": ranked.ids[index] or None,
            "index": index,
            "score": scores[at],
        }
        if page:
            item["position"] = at + 1
        if outputs:
            item["outputs"] = {n: v[at] for n, v in outputs.items()}
        entries.append(item)
    reply: dict[str, Any] = {
        "model": model,
        "version": version,
        **page,
        "ranked": entries,
        "sources": dict(collections.Counter(ranked.sources.tolist())),
        "absent": {n: round(v, DIGITS) for n, v in ranked.absent.items() if v > 0},
        "store_away": ranked.unavailable,
    }
    if ranked.unused:
        reply["features_unused"] = ranked.unused
    if shares is not None:
        reply["shares"] = dict(zip(shares.names, _rounded(shares.overall), strict=True))
        for name, table in (("shares", shares.shares), ("effects", shares.effects)):
            rows = _rounded(table.T)
            for item in entries:
                item[name] = dict(zip(shares.names, rows[item["index"]], strict=True))
    return orjson.dumps(reply)


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), DIGITS).tolist()


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
