"""JSON that is legal but absurd, texts that grow when they are read, and unusual HTTP."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

from pipelines.benchmarks.hostile import rank, rest
from pipelines.benchmarks.hostile.rest import Maker, RawRequest, RestRequest
from pipelines.benchmarks.hostile.target import Target

EXPLAINED = 50  # maximum number of candidates that the benchmark's server explains
# NFKC expands one character to up to eighteen.
GROWING = ("\ufdfa", "\u3316", "\u33a0", "\u1e9b\u0323", "\u00df", "\U0001f1e6", "x", "\u4e00")


def nested(rng: random.Random, target: Target) -> RestRequest:
    """Nested lists, a few levels more than an array can have, or thousands."""
    depth = rng.choice([33, 60, 200, 900, 5000])
    body = b'{"inputs":' + b"[" * depth + b"]" * depth + b"}"
    if rng.random() < 0.3:
        body = b'{"query":' + b'{"a":' * depth + b"1" + b"}" * depth + b',"candidates":[]}'
        return _to_rank("JSON: nested", target, body)
    return rest.predict("JSON: nested", target, body)


def many_keys(rng: random.Random, target: Target) -> RestRequest:
    """An object of tens of thousands of keys."""
    keys = {f"k{n}": 1 for n in range(rng.randrange(1000, 30_000))}
    if rng.random() < 0.5:
        return _to_rank("JSON: many keys", target, rank.good(target) | {"query": keys})
    return rest.predict("JSON: many keys", target, {"signature_name": "rank_items", "inputs": keys})


def same_key(rng: random.Random, target: Target) -> RestRequest:
    """One key thousands of times; the last value counts."""
    repeated = b'"query":"red",' * rng.randrange(100, 20_000)
    body = b"{" + repeated + json.dumps(rank.good(target)).encode()[1:]
    return _answered(_to_rank("JSON: the same key", target, body))


def long_number(rng: random.Random, target: Target) -> RestRequest:
    """A number with thousands of digits or with a huge exponent."""
    digits = "7" * rng.randrange(20, 300_000)
    number = rng.choice([digits, f"-{digits}", f"0.{digits}e-9", f"1e{digits[:5000]}", "1e-400"])
    body = json.dumps(rank.good(target) | {"version": "@"}).replace('"@"', number)
    return _to_rank("JSON: long number", target, body.encode())


def escapes(rng: random.Random, target: Target) -> RestRequest:
    """Escapes of half surrogate pairs, of nothing, and of NUL."""
    text = rng.choice(["\\ud800", "\\udfff\\ud800", "\\u0000", "\\u00zz", "\\x41", "\\u12"])
    body = json.dumps(rank.good(target) | {"query": "@"})
    made = body.replace("@", text * rng.choice([1, 30_000])).encode()
    return _answered(_to_rank("JSON: escapes", target, made))


def spaces(rng: random.Random, target: Target) -> RestRequest:
    """A request before or after up to a megabyte of white space."""
    blank = rng.choice([b" ", b"\n", b"\t", b"\r\n "]) * rng.randrange(1000, 200_000)
    body = json.dumps(rank.good(target)).encode()
    return _answered(_to_rank("JSON: spaces", target, rng.choice([blank + body, body + blank])))


def encodings(rng: random.Random, target: Target) -> RestRequest:
    """JSON in an encoding other than UTF-8, or with bytes that are not UTF-8."""
    text = json.dumps(rank.good(target))
    bodies = [text.encode(e) for e in ("utf-16", "utf-32", "utf-8-sig", "utf-7")]
    for junk in (b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xff", b"\xe2\x82"):
        bodies.append(text.encode().replace(b"red", junk, 1))
    # These characters are ASCII in UTF-7, so the request is answered.
    return _answered(_to_rank("JSON: encodings", target, rng.choice(bodies)))


def empty_rows(rng: random.Random, target: Target) -> RestRequest:
    """Tens of thousands of empty rows, or rows of which only the last is different."""
    rows: list[Any] = [{}] * rng.randrange(1000, 60_000)
    if rng.random() < 0.5:
        row = rest.good(target, "rank_items", "instances")["instances"][0]
        rows = [row] * rng.randrange(10, 200) + [{}]
    body = {"signature_name": "rank_items", "instances": rows}
    return rest.predict("JSON: empty rows", target, body)


def other_types(rng: random.Random, target: Target) -> RestRequest:
    """A body of another content type that is not JSON."""
    kind, body = rng.choice(
        [
            ("application/xml", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"),
            ("multipart/form-data; boundary=x", b"--x\r\n" * rng.randrange(1, 9000)),
            ("application/x-www-form-urlencoded", b"a=1&" * rng.randrange(1, 90_000)),
            ("application/x-protobuf", rng.randbytes(500)),
            ("text/plain; charset=utf-16", b"\xff\xfe{\x00}\x00"),
            ("x" * 9000, b"query"),
        ]
    )
    made = _to_rank("JSON: other types", target, body)
    headers = {**made.headers, "content-type": kind}
    path = rng.choice(["/rank", f"/v1/models/{target.model}:predict"])
    return dataclasses.replace(made, path=path, headers=headers)


def growing_query(rng: random.Random, target: Target) -> RestRequest:
    """A query of up to a megabyte whose characters grow when they are normalised."""
    body = rank.good(target) | {"query": _text(rng, target)}
    return _answered(_to_rank("text: long query", target, body))


def growing_titles(rng: random.Random, target: Target) -> RestRequest:
    """Products whose texts are long."""
    name = rng.choice(["title", "brand", "category", "id", "item"])
    text = _text(rng, target)[:20_000]
    body = rank.good(target)
    body["candidates"] = [{"title": text, name: text}] * rng.randrange(1, 5)
    return _answered(_to_rank("text: long products", target, body))


def growing_inputs(rng: random.Random, target: Target) -> RestRequest:
    """Long texts in a tensor."""
    signature = rng.choice(["rank_items", "serving_default"])
    body = rest.good(target, signature)
    texts = [n for n, i in target.signatures[signature].items() if i.dtype == "DT_STRING"]
    name = rng.choice(sorted(set(texts) - target.media))
    value, text = body["inputs"][name], _text(rng, target)
    while isinstance(value[0], list):
        value = value[0]
    value[0] = text
    return _answered(rest.predict("text: long in a tensor", target, body))


def long_ids(rng: random.Random, target: Target) -> RestRequest:
    """Ids of hundreds of thousands of characters, for candidates, the user and the history."""
    text = _text(rng, target)[:200_000]
    change: dict[str, Any] = rng.choice(
        [
            {"candidates": [text, "P000001"]},
            {"user": text},
            {"history": [[text, "view", 1.0]]},
            {"history": [["P000001", text, 1.0]]},
        ]
    )
    return _answered(_to_rank("text: long ids", target, rank.good(target) | change))


def explained(rng: random.Random, target: Target) -> RestRequest:
    """More candidates to explain than allowed."""
    count = rng.randrange(EXPLAINED + 1, target.most + 1)
    body = {"query": "red", "explain": True, "candidates": ["P000001"] * count}
    return _to_rank("/rank: many to explain", target, body)


def many_headers(rng: random.Random, target: Target) -> RestRequest:
    """Thousands of headers, or one of half a megabyte."""
    made = _to_rank("HTTP: many headers", target, rank.good(target))
    more = {f"x-{n}": "y" * 90 for n in range(rng.randrange(1500, 3000))}
    more = rng.choice([more, {"cookie": "z" * rng.randrange(80_000, 500_000)}])
    return dataclasses.replace(made, headers={**made.headers, **more})


def other_methods(rng: random.Random, target: Target) -> RestRequest:
    """HTTP methods that no path accepts."""
    made = _to_rank("HTTP: other methods", target, rank.good(target))
    method = rng.choice(["TRACE", "OPTIONS", "PROPFIND", "DELETE", "PUT", "x" * 300])
    path = rng.choice(["/rank", f"/v1/models/{target.model}:predict", "/healthz", "*"])
    return dataclasses.replace(made, method=method, path="/" + path.lstrip("/"))


def long_query_string(rng: random.Random, target: Target) -> RestRequest:
    """Thousands of parameters in the URL."""
    made = _to_rank("HTTP: parameters", target, rank.good(target))
    tail = rng.choice(["a=1&", "%00&", "a[]=../&", "?"]) * rng.randrange(10, 4000)
    return _answered(dataclasses.replace(made, path=f"/rank?{tail}"))


REST_MAKERS: tuple[Maker, ...] = (
    nested,
    many_keys,
    same_key,
    long_number,
    escapes,
    spaces,
    encodings,
    empty_rows,
    other_types,
    growing_query,
    growing_titles,
    growing_inputs,
    long_ids,
    explained,
    many_headers,
    other_methods,
    long_query_string,
)


def hosts(rng: random.Random, target: Target) -> RawRequest:
    """An HTTP/1.1 request with no Host header, or two."""
    named = rng.choice([b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nhost: a\r\n"])
    return RawRequest("HTTP: hosts", _head(target, named) + _sized(target))


def tiny_chunks(rng: random.Random, target: Target) -> RawRequest:
    """A body in chunks of one byte, each with an extension."""
    body = json.dumps(rank.good(target)).encode() + b" " * rng.randrange(1000, 40_000)
    parts = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body)
    head = _head(target, b"Host: x\r\n") + b"Transfer-Encoding: chunked\r\n\r\n"
    return RawRequest("HTTP: tiny chunks", head + parts + b"0\r\n\r\n", answered=True)


def pipelined(rng: random.Random, target: Target) -> RawRequest:
    """Pipelined requests, the last one incomplete."""
    one = _head(target, b"Host: x\r\n") + _sized(target)
    bad = b"POST /rank HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"
    return RawRequest("HTTP: pipelined", one * rng.randrange(1, 30) + bad, answered=True)


RAW_MAKERS = (hosts, tiny_chunks, pipelined)


def _head(target: Target, hosts: bytes) -> bytes:
    key = f"x-api-key: {target.keys['rank']}\r\n".encode()
    return b"POST /rank HTTP/1.1\r\n" + hosts + key


def _sized(target: Target) -> bytes:
    body = json.dumps(rank.good(target)).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def _text(rng: random.Random, target: Target) -> str:
    unit = rng.choice(GROWING)
    most = target.bytes // len(unit.encode()) - 2000
    return unit * rng.randrange(1000, most)


def _to_rank(kind: str, target: Target, body: Any) -> RestRequest:
    if not isinstance(body, bytes):  # unescaped characters, of which more fit
        body = json.dumps(body, ensure_ascii=False).encode()
    return dataclasses.replace(rest.predict(kind, target, body), path="/rank")


def _answered(made: RestRequest) -> RestRequest:
    return dataclasses.replace(made, answered=True)
