"""Any JSON to any endpoint is answered, or refused with one line that gives the reason."""

from __future__ import annotations

import base64
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from prometheus_client import CollectorRegistry
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.data.page_log_lines import feedback_from_line
from mmrank.server.monitor.page_metrics import PageMetrics
from mmrank.server.page_log import PageLog
from mmrank.server.page_log_options import LogOptions

pytestmark = pytest.mark.slow  # the first request of a signature prepares its graph
Json = st.SearchStrategy[Any]
PREDICT, REGRESS = "/v1/models/ranker:predict", "/v1/models/ranker:regress"
LISTS, EXAMPLES = "tensorflow/serving/predict", "tensorflow/serving/regress"
PREPARED = ("encode_items", "encode_queries", "lookup_items", "rank_embeddings")  # by /rank


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (200, 30, 40)).save(file, "PNG")
    return file.getvalue()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


WORDS = st.text(max_size=9)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BYTES = st.binary(max_size=40).map(b64)
LEAVES = st.none() | st.booleans() | FLOATS | st.integers(-(2**70), 2**70) | WORDS | BYTES


def nested(leaves: Json) -> Json:
    def wrapped(inner: Json) -> Json:
        return st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4)

    return st.recursive(leaves, wrapped, max_leaves=12)


ANYTHING = nested(LEAVES)
# With one of these anywhere, the server does not accept the text as JSON.
NO_JSON = st.sampled_from([math.nan, math.inf, "\ud800", 10**400])


def often(likely: Json) -> Json:
    """Usually the likely value, sometimes an arbitrary one."""
    return st.integers(0, 15).flatmap(lambda n: ANYTHING if n == 0 else likely)


def spoiled(fields: Mapping[str, Json], required: Sequence[str] = ()) -> Json:
    """An object of some of these fields; sometimes one of them is replaced or left out."""
    optional = {n: s for n, s in fields.items() if n not in required}
    whole = st.fixed_dictionaries({n: fields[n] for n in required}, optional=optional)
    one = st.tuples(whole, st.sampled_from(sorted(fields)), ANYTHING)
    worse = one.map(lambda t: t[0] | {t[1]: t[2]})
    less = one.map(lambda t: {n: v for n, v in t[0].items() if n != t[1]})
    return st.integers(0, 9).flatmap(lambda n: worse if n < 3 else less if n == 3 else whole)


REVIEW = spoiled({"text": WORDS, "age_days": FLOATS, "helpful": st.integers(0, 9)}, ["text"])
CONTEXT = {"query": WORDS, "user": WORDS | st.integers(0, 99)}
ITEM = {
    "title": WORDS,
    "tags": st.lists(WORDS, max_size=3),
    "reviews": st.lists(REVIEW, max_size=2),
    "photo": st.just(b64(photo())) | BYTES,
    "price": FLOATS | st.integers(-3, 2**60),
    "overlap": FLOATS,
}
EVENT = {"item": WORDS, "type": WORDS, "age_days": FLOATS.map(abs)}
RANK = {
    "candidates": st.lists(often(WORDS | st.integers(0, 99) | spoiled(ITEM)), max_size=4),
    "query": WORDS | spoiled({"query": WORDS}),
    "user": WORDS | spoiled({"user": WORDS}),
    "history": st.lists(
        often(spoiled(EVENT, list(EVENT)) | st.tuples(*EVENT.values()).map(list)), max_size=3
    ),
    "explain": st.booleans(),
    "version": st.just(1),
    "label": st.none(),
    "rerank": st.just(False),
    "interleave": st.just(False),
}
ITEMS = st.lists(often(WORDS), max_size=4)
FEEDBACK = {
    "page": st.text("0123456789abcdef", min_size=32, max_size=32),
    "clicks": ITEMS,
    "carts": ITEMS,
    "purchases": ITEMS,
    "dwell": st.dictionaries(WORDS, often(st.floats(0, 90_000) | st.integers(0, 9)), max_size=4),
}
TEXTUAL = WORDS | BYTES | st.lists(WORDS, max_size=3)
FEATURES = {n: FLOATS if n in ("price", "overlap") else often(TEXTUAL) for n in (*ITEM, *CONTEXT)}
REGRESSION = {
    "signature_name": st.just(EXAMPLES),
    "context": spoiled(FEATURES),
    "examples": st.lists(often(spoiled(FEATURES)), min_size=1, max_size=3),
}


def tensors(inputs: Mapping[str, Any]) -> dict[str, Json]:
    """The inputs of two lists of three, each with the right shape and type."""
    leaves: dict[str, Json] = {
        "DT_STRING": WORDS | BYTES,
        "DT_FLOAT": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        "DT_BOOL": st.booleans(),
        "DT_INT32": st.integers(-2, 9),
    }
    made = {}
    for name, info in inputs.items():
        sizes = [int(dim["size"]) for dim in info["tensor_shape"].get("dim", ())]
        value = leaves[info["dtype"]]
        if name == "photo":
            value = st.just(b64(photo())) | value
        for size, usual in reversed(list(zip(sizes, (2, 3, 3, 3), strict=False))):
            # One leaf is repeated, since differences between leaves do not matter.
            value = value.map(lambda v, n=usual if size < 0 else size: [v] * n)
        made[name] = value
    return made


def prediction(inputs: Mapping[str, Mapping[str, Any]]) -> Json:
    """Requests to several signatures, in either format."""

    def request(name: str) -> Json:
        fields = tensors(inputs[name])
        columns = spoiled(fields, list(fields))
        rows = {n: s.map(lambda v: v[0]) for n, s in fields.items()}
        listed = st.lists(often(spoiled(rows, list(rows))), min_size=1, max_size=2)
        signature = {"signature_name": st.just(name)}
        return spoiled(signature | {"inputs": columns}, ["signature_name", "inputs"]) | spoiled(
            signature | {"instances": listed}, ["signature_name", "instances"]
        )

    return st.sampled_from(PREPARED).flatmap(request)


def damaged(signature: str) -> Json:
    """A message with at most one changed byte; some of the changed messages can still be parsed."""
    example = tf.train.Example()
    for name, value in (("title", b"mug"), ("photo", photo()), ("query", b"red"), ("user", b"U1")):
        example.features.feature[name].bytes_list.value.append(value)
    example.features.feature["price"].float_list.value.append(9.0)
    message = example
    if signature == LISTS:
        message = ExampleListWithContext(context=example, examples=[example, example])
    whole = message.SerializeToString(deterministic=True)

    def changed(position: int, byte: int) -> dict[str, str]:
        return b64(whole[:position] + bytes([byte]) + whole[position + 1 :])

    positions = st.integers(0, len(whole) - 1)
    return st.just(b64(whole)) | st.builds(changed, positions, st.integers(0, 255))


def strict(reply: Any) -> Any:
    """The JSON of a reply, in which every number must be finite."""
    return json.loads(reply.content, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))


def tried(running: Any, path: str, bodies: Json) -> None:
    """Sends what a strategy generates; each is answered, or refused with a one-line message."""

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=HealthCheck)
    @given(bodies)
    def check(body: Any) -> None:
        reply = running.http.post(path, content=json.dumps(body).encode())
        assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text
        actual = strict(reply)
        if reply.status_code == 200:
            assert all(type(position["score"]) is float for position in actual.get("ranked", ()))
            assert all(type(value) is float for value in actual.get("results", ()))
            return
        assert set(actual) == {"error"}
        assert actual["error"].strip()
        assert len(actual["error"].splitlines()) == 1, actual["error"]

    check()
    reply = running.http.post("/rank", json={"query": "red", "candidates": ["a", {"title": "b"}]})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("path", ["/rank", PREDICT, REGRESS])
def test_arbitrary_bodies(running: Any, path: str) -> None:
    tried(running, path, ANYTHING | nested(LEAVES | NO_JSON))


def test_rank(running: Any) -> None:
    tried(running, "/rank", spoiled(RANK, ["candidates"]))


def test_feedback(running: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PageLog(tmp_path, LogOptions(), PageMetrics(CollectorRegistry()))
    monkeypatch.setattr(running.server._pages.recorder, "_log", log)
    tried(running, "/feedback", ANYTHING | spoiled(FEEDBACK, ["page"]))
    log.close()
    lines = [line for f in tmp_path.iterdir() for line in f.read_bytes().splitlines(keepends=True)]
    assert len(lines) > 10
    for line in lines:
        feedback_from_line(line)


def test_predict(running: Any) -> None:
    reply = running.http.get("/v1/models/ranker/metadata").json()
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    tried(running, PREDICT, prediction({n: signatures[n]["inputs"] for n in PREPARED}))


def test_regress(running: Any) -> None:
    tried(running, REGRESS, spoiled(REGRESSION, ["signature_name", "examples"]))


@pytest.mark.parametrize("signature", [LISTS, EXAMPLES])
def test_serialized_messages(running: Any, signature: str) -> None:
    rows = st.lists(often(damaged(signature) | BYTES | WORDS), max_size=2)
    fields = {"signature_name": st.just(signature), "inputs": rows}
    tried(running, PREDICT, spoiled(fields, list(fields)))
