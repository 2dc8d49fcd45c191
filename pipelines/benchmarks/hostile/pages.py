"""Hostile requests for pages, and hostile feedback on them."""

from __future__ import annotations

import json
import random
from typing import Any

from pipelines.benchmarks.hostile import rank
from pipelines.benchmarks.hostile.rest import CONTENT, Maker, RestRequest
from pipelines.benchmarks.hostile.target import Target

PAGE = "0123456789abcdef" * 2  # the form of an id; no page has it


def good(target: Target) -> dict[str, Any]:
    """The JSON of feedback that is taken, on a page that another server may have shown."""
    return {"page": PAGE, "clicks": [target.items[0]], "dwell": {target.items[0]: 12.5}}


def _feedback(kind: str, target: Target, body: Any, answered: bool = False) -> RestRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"x-api-key": target.keys["rank"], "content-type": CONTENT}
    return RestRequest(kind, "/feedback", content, headers=headers, answered=answered)


def wrong_feedback(rng: random.Random, target: Target) -> RestRequest:
    """A page that is no id, a field of the wrong type, or an unknown field."""
    change: dict[str, Any] = rng.choice(
        [
            {"page": None},
            {"page": 7},
            {"page": [PAGE]},
            {"page": ""},
            {"page": PAGE[:-1]},
            {"page": PAGE.upper()},
            {"page": "../../etc/passwd"},
            {"page": PAGE + "\n"},
            {"page": "x" * 100_000},
            {"clicks": "P000001"},
            {"clicks": {"P000001": 1}},
            {"clicks": [1]},
            {"clicks": [None]},
            {"clicks": [["P000001"]]},
            {"clicks": [""]},
            {"clicks": ["x" * 600]},
            {"carts": True},
            {"purchases": 3},
            {"dwell": []},
            {"dwell": 5},
            {"dwell": {"P000001": "5"}},
            {"dwell": {"P000001": True}},
            {"dwell": {"P000001": -1}},
            {"dwell": {"P000001": 1e300}},
            {"dwell": {"P000001": 10**30}},
            {"dwell": {"P000001": None}},
            {"dwell": {"P000001": [1]}},
            {"dwell": {"": 1}},
            {"click": ["P000001"]},
            {"__proto__": {"admin": True}},
            {"x" * 5000: 1},
        ]
    )
    return _feedback("/feedback: wrong fields", target, good(target) | change)


def much_feedback(rng: random.Random, target: Target) -> RestRequest:
    """More items than a page can have."""
    count = target.most + rng.randrange(1, 300)
    items: list[str] = ["P000001"] * count
    body: dict[str, Any] = {rng.choice(["clicks", "carts", "purchases"]): items}
    if rng.random() < 0.3:
        body = {"dwell": {f"P{n:06d}": 1.0 for n in range(count)}}
    return _feedback("/feedback: many items", target, good(target) | body)


def odd_feedback(rng: random.Random, target: Target) -> RestRequest:
    """Feedback at the bounds, which may be taken: the longest ids, as many as a page has."""
    ids = [f"{n}{rng.choice(['x', chr(233), chr(0), chr(10)]) * 100}" for n in range(target.most)]
    body = {"clicks": ids, "carts": ids, "purchases": ids, "dwell": dict.fromkeys(ids, 1e-300)}
    return _feedback("/feedback: at the bounds", target, good(target) | body, answered=True)


def malformed_feedback(rng: random.Random, target: Target) -> RestRequest:
    """JSON that ends early, is no object, or has numbers that JSON has not."""
    whole = json.dumps(good(target)).encode()
    cut = whole[: rng.randrange(len(whole))]
    wrong = [cut, whole.replace(b"12.5", b"NaN"), whole + b"}", b"[" + whole + b"]", b"null"]
    return _feedback("/feedback: malformed JSON", target, rng.choice(wrong))


def wrong_pages(rng: random.Random, target: Target) -> RestRequest:
    """A request for a page that contradicts itself or has fields of the wrong type."""
    change: dict[str, Any] = rng.choice(
        [
            {"rerank": 1},
            {"rerank": "yes"},
            {"rerank": [True]},
            {"interleave": 1},
            {"interleave": "stable"},
            {"interleave": []},
            {"interleave": ["a"]},
            {"interleave": ["a", 2]},
            {"interleave": ["a", "b", "c"]},
            {"interleave": ["none", "x" * 50_000]},
            {"interleave": {"a": "b"}},
            {"interleave": True, "rerank": True},
            {"interleave": True, "version": 1},
            {"interleave": True},  # the server is configured with no labels
        ]
    )
    return rank.request("/rank: wrong pages", target, rank.good(target) | change)


def odd_pages(rng: random.Random, target: Target) -> RestRequest:
    """A request for a page whose candidates have no id, or one id twice, or are very many."""
    candidates: list[Any] = rng.choice(
        [
            [target.items[0]] * target.most,
            [{"title": "Linen dress"}] * rng.randrange(1, 50),
            list(target.items) + [{"title": "Linen dress", "item": target.items[0]}],
            [f"{n}" for n in range(target.most)],
            ["x"],
        ]
    )
    body = {"query": "red dress", "candidates": candidates, "rerank": True}
    # An export without a policy refuses them.
    return rank.request("/rank: odd pages", target, body, answered=True)


MAKERS: tuple[Maker, ...] = (
    wrong_feedback,
    much_feedback,
    odd_feedback,
    malformed_feedback,
    wrong_pages,
    odd_pages,
)
