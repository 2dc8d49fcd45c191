"""Hostile requests to /rank, and bytes that are almost HTTP."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

from pipelines.benchmarks.hostile.images import ABSURD
from pipelines.benchmarks.hostile.rest import CONTENT, Maker, RawRequest, RestRequest
from pipelines.benchmarks.hostile.target import Target


def good(target: Target) -> dict[str, Any]:
    """The JSON of a request that is answered."""
    return {"query": "red dress", "candidates": list(target.items[:4])}


def request(kind: str, target: Target, body: Any, answered: bool = False) -> RestRequest:
    """A request to /rank; `body` is bytes, or is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"x-api-key": target.keys["rank"], "content-type": CONTENT}
    return RestRequest(kind, "/rank", content, headers=headers, answered=answered)


def wrong_fields(rng: random.Random, target: Target) -> RestRequest:
    """A field of the wrong type, an unknown field, or a missing field."""
    change: dict[str, Any] = rng.choice(
        [
            {"candidates": None},
            {"candidates": "P000001"},
            {"candidates": {}},
            {"candidates": 7},
            {"query": 3.5},
            {"query": ["red"]},
            {"query": {"nope": "red"}},
            {"query": {"query": ["red"]}},
            {"query": {"b64": "%%%"}},
            {"user": {"nope": 1}},
            {"user": {"user": {}}},
            {"user": [1]},
            {"history": "P000001"},
            {"history": [3]},
            {"history": [{"item": "P000001", "type": "view", "age_days": -1}]},
            {"history": [{"item": "P000001", "kind": "view"}]},
            {"history": [["P000001", "view"]]},
            {"history": [["P000001", 5, 1.0]]},
            {"explain": 1},
            {"explain": "yes"},
            {"version": "1"},
            {"version": 99999},
            {"version": -1},
            {"version": 10**30},
            {"label": 5},
            {"label": "none"},
            {"candidate": []},
            {"": ""},
            {"__proto__": {"admin": True}},
            {"x" * 5000: 1},
        ]
    )
    return request("/rank: wrong fields", target, good(target) | change)


def wrong_candidates(rng: random.Random, target: Target) -> RestRequest:
    """Candidates that are neither ids nor products, no candidates, or too many."""
    bad: list[Any] = [None, True, 1.5, "", [], ["P000001"], {"nope": 1}, {"price": "cheap"}]
    bad += [{"title": 3.5}, {"title": ["a"]}, {"price": {}}, {"price": True}, {"brand": [1]}]
    body = good(target)
    match rng.randrange(4):
        case 0:
            body["candidates"] = []
        case 1:
            body["candidates"] = ["P000001"] * (target.most + rng.randrange(1, 300))
        case 2:
            body["history"] = [["P000001", "view", 1.0]] * (target.most + rng.randrange(1, 300))
        case _:
            body["candidates"][rng.randrange(4)] = rng.choice(bad)
    return request("/rank: wrong candidates", target, body)


def absurd_photo(rng: random.Random, target: Target) -> RestRequest:
    """A product whose photo is a bomb, damaged, not a photo, or a path on the server."""
    name = next(iter(sorted(target.media)), "photo")
    data: Any = {"b64": base64.b64encode(rng.choice(ABSURD)(rng)).decode()}
    photo = rng.choice([data, data, data, "/etc/passwd", 7, {"b64": "%%%"}, {"path": "x"}, [1]])
    body = good(target)
    body["candidates"][rng.randrange(4)] = {"title": "Linen dress", name: photo}
    return request("/rank: absurd photo", target, body)


def malformed(rng: random.Random, target: Target) -> RestRequest:
    """JSON that ends early, or bytes that are not JSON."""
    whole = json.dumps(good(target)).encode()
    nan = whole.replace(b'"red dress"', b"NaN")
    garbage = rng.randbytes(rng.randrange(1, 2000))
    cut = whole[: rng.randrange(len(whole))]
    return request("/rank: malformed JSON", target, rng.choice([cut, nan, garbage, whole + b"}"]))


MAKERS: tuple[Maker, ...] = (wrong_fields, wrong_candidates, absurd_photo, malformed)


def raw(rng: random.Random, target: Target) -> RawRequest:
    """Bytes to send over a raw connection, which the server must answer with 400."""
    head = f"POST /v1/models/{target.model}:predict HTTP/1.1\r\nHost: x\r\n".encode()
    key = f"x-api-key: {target.keys['rank']}\r\n".encode()
    lengths = [str(target.bytes + 1).encode(), b"9" * 18, b"9" * 40]
    data = rng.choice(
        [
            head + key + b"Content-Length: " + rng.choice(lengths) + b"\r\n\r\n{}",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(60) + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"BREW /pot HTCPCP/1.0\r\n\r\n",
            head + b"Content-Length: -5\r\n\r\n",
            head + b"Content-Length: five\r\n\r\nabcde",
            head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n",
            head + b"No colon here\r\n\r\n",
            head + b"Bad\x00name: x\r\n\r\n",
            head + b"X-Long: " + b"y" * 70_000,
            rng.randbytes(rng.randrange(20, 400)) + b"\r\n\r\n",
        ]
    )
    return RawRequest("hardly HTTP", data)
