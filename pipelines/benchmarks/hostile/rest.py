"""Hostile REST requests to TensorFlow Serving's API: each must be refused with a 4xx."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipelines.benchmarks.hostile.images import ABSURD
from pipelines.benchmarks.hostile.target import Target

CONTENT = "application/json"


@dataclasses.dataclass(frozen=True)
class RestRequest:
    """One HTTP request.

    Attributes:
      kind: What is wrong with the request.
      path: Path.
      body: Body.
      method: Method.
      headers: Headers.
      answered: Whether it may also be answered; then it only must not cost more than others.
      files: Number of files in it; each may cost as much as decoding a file may.
    """

    kind: str
    path: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answered: bool = False
    files: int = 0


@dataclasses.dataclass(frozen=True)
class RawRequest:
    """Bytes to send over a raw connection.

    Attributes:
      kind, answered, files: As in `RestRequest`.
      data: The bytes.
    """

    kind: str
    data: bytes
    answered: bool = False
    files: int = 0


Maker = Callable[[random.Random, Target], RestRequest]
Json = dict[str, Any]


def good(target: Target, signature: str, form: str = "inputs") -> Json:
    """The JSON of a request that is answered."""
    plain = {n: _plain(a) for n, a in target.arrays(signature).items()}
    if form == "inputs":
        return {"signature_name": signature, "inputs": plain}
    count = len(next(iter(plain.values())))
    rows = [{n: v[i] for n, v in plain.items()} for i in range(count)]
    return {"signature_name": signature, "instances": rows}


def _plain(array: np.ndarray) -> Any:
    listed = array.tolist()
    return _texts(listed) if array.dtype == object else listed


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(v) for v in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def predict(kind: str, target: Target, body: Json | bytes, **more: Any) -> RestRequest:
    """A predict request with the right key."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/v1/models/{target.model}:predict"
    headers = {"x-api-key": target.keys["rank"], "content-type": CONTENT}
    return RestRequest(kind, path, content, headers=headers, **more)


def malformed(rng: random.Random, target: Target) -> RestRequest:
    """JSON that ends early, is garbled, or is not an object."""
    whole = json.dumps(_any(rng, target)).encode()
    at = rng.randrange(1, len(whole) - 1)
    garbled = whole.replace(b":", rng.choice([b"=", b"::", b",", b" "]), 1)
    bodies = [
        whole[:at],
        garbled,
        whole + whole,
        whole.replace(b"{", b"{,", 1),
        whole.replace(b"inputs", b"inp\xffuts").replace(b"instances", b"\xc3\x28"),
        b"",
        b"[" * rng.randrange(1, 200_000),
        b'{"inputs":' * rng.randrange(1, 20_000),
        rng.randbytes(rng.randrange(1, 3000)),
        rng.choice([b"null", b"true", b"17", b'"inputs"', b"[]", b"[{}]", b"{}", b"[1,2,3]"]),
    ]
    return predict("malformed JSON", target, rng.choice(bodies))


def not_a_number(rng: random.Random, target: Target) -> RestRequest:
    """Numbers beyond float32, and words that are not numbers; NaN itself is accepted."""
    signature, name = _input(rng, target, ("DT_FLOAT",))
    body = good(target, signature)
    words = ["1e39", "-4e77", "1e999", "nan", "0x1F", "01"]
    text = json.dumps(_replaced(rng, body, name, "@")).replace('"@"', rng.choice(words))
    return predict("NaN", target, text.encode())


def wrong_type(rng: random.Random, target: Target) -> RestRequest:
    """A value of a type other than its input's."""
    signature, name = _input(rng, target)
    wrong: dict[str, list[Any]] = {
        "DT_STRING": [3.5, 7, True, None, {"b64": 5}, {"b64": "%%%"}, {"b65": "YQ=="}, {}],
        "DT_FLOAT": ["3.5", True, None, {}, {"b64": "YQ=="}, "NaN"],
        "DT_BOOL": [1, 0.0, "true", None, {}],
        "DT_INT32": [1.5, "3", True, None, 2**31, -(2**40), 10**30],
        "DT_INT64": [1.5, "3", True, None, 2**63],
    }
    value = rng.choice(wrong[target.signatures[signature][name].dtype])
    return predict("wrong type", target, _replaced(rng, good(target, signature), name, value))


def wrong_names(rng: random.Random, target: Target) -> RestRequest:
    """Inputs that are missing, unknown, in both formats or in neither."""
    body = _any(rng, target)
    form = "inputs" if "inputs" in body else "instances"
    holder = body[form] if form == "inputs" else rng.choice(body[form])
    name = rng.choice(list(holder))
    match rng.randrange(8):
        case 0:
            del holder[name]
        case 1:
            holder[name + "x"] = holder.pop(name)
        case 2:
            body = good(target, _signature(rng, target), "instances")
            body["instances"][0]["unheard_of"] = [1]
        case 3:
            body["inputs"] = body["instances"] = body[form]
        case 4:
            body = {"signature_name": body["signature_name"]}
        case 5:
            body[form] = rng.choice([None, 3, "x", [], {}, [[]], True, [None], [3, 4]])
        case 6:
            body["signature_name"] = rng.choice(["none", 3, None, [], {}, "x" * 5000, "__saved"])
        case _:
            body = {form.upper(): body[form]}
    return predict("wrong names", target, body)


def wrong_shape(rng: random.Random, target: Target) -> RestRequest:
    """Lists that are ragged, too deep, too flat, or of unequal length."""
    signature, name = _input(rng, target)
    body = good(target, signature)
    value = body["inputs"][name]
    flat = value
    while isinstance(flat, list):
        flat = flat[0]
    shapes = [[value], [[value]], flat, value + value[:1], value[:1] + [[value[0]]], [value, flat]]
    if isinstance(value[0], list):
        shapes += [value[0], [value[0], value[0] + value[0][:1]]]
        if len(value[0]) > 1:  # otherwise both rows have the same length
            shapes.append([value[0], value[0][:1]])
    body["inputs"][name] = rng.choice(shapes)
    return predict("wrong shape", target, body)


def unequal_lists(rng: random.Random, target: Target) -> RestRequest:
    """A feature with one candidate more than the other features have."""
    signature = rng.choice(
        [s for s in ("serving_default", "rank_embeddings") if s in target.signatures]
    )
    body = good(target, signature)
    wide = [
        n
        for n, i in target.signatures[signature].items()
        if i.shape[:2] == (-1, -1) and not n.startswith("history")
    ]
    name = rng.choice(wide)
    body["inputs"][name] = [row + row[:1] for row in body["inputs"][name]]
    return predict("unequal lists", target, body)


def nothing(rng: random.Random, target: Target) -> RestRequest:
    """Lists without a candidate, and requests without a list."""
    signature = _signature(rng, target)
    body = good(target, signature)
    inputs = body["inputs"]
    if rng.random() < 0.5:
        inputs = {n: [] for n in inputs}
    else:
        inputs = {n: [[] for _ in v] if _listed(v) else v for n, v in inputs.items()}
        if inputs == body["inputs"]:
            inputs = {n: [] for n in inputs}
    return predict("empty lists", target, body | {"inputs": inputs})


def huge(rng: random.Random, target: Target) -> RestRequest:
    """More candidates or bytes than a request may have."""
    if rng.random() < 0.1:
        return predict("huge body", target, b"x" * (target.bytes + rng.randrange(1, 10_000)))
    body = good(target, "rank_items")
    width = target.most + rng.randrange(1, 500)
    wide = {
        n: [_stretched(row, width) for row in v] if _listed(v) else v
        for n, v in body["inputs"].items()
    }
    return predict("huge lists", target, body | {"inputs": wide})


def absurd_image(rng: random.Random, target: Target) -> RestRequest:
    """Photos that are bombs, damaged, or not photos."""
    usable = [s for s, i in target.signatures.items() if target.media & i.keys()]
    if not usable:
        return malformed(rng, target)
    signature = rng.choice(usable)
    name = rng.choice(sorted(target.media & target.signatures[signature].keys()))
    data = base64.b64encode(rng.choice(ABSURD)(rng)).decode()
    return predict(
        "absurd image", target, _replaced(rng, good(target, signature), name, {"b64": data})
    )


def bad_key(rng: random.Random, target: Target) -> RestRequest:
    """No key, a wrong key, a revoked key, or a key of another role."""
    right = target.keys["rank"]
    sent = rng.choice(
        [
            {},
            {"x-api-key": right[:-1]},
            {"x-api-key": right + "x"},
            {"x-api-key": target.keys["revoked"]},
            {"x-api-key": target.keys["metrics"]},
            {"authorization": f"Bearer {target.keys['admin']}"},
            {"authorization": "Bearer"},
            {"authorization": f"Basic {base64.b64encode(b'a:b').decode()}"},
            {"authorization": "Bearer " + "x" * rng.randrange(1, 9000)},
            {"x-api-key": "mmr_" + rng.randbytes(8).hex() + "_' OR 1=1 --"},
        ]
    )
    return dataclasses.replace(predict("bad key", target, _any(rng, target)), headers=sent)


def bad_path(rng: random.Random, target: Target) -> RestRequest:
    """Models, versions, labels, paths and methods that do not exist."""
    base = f"/v1/models/{target.model}"
    method, path = rng.choice(
        [
            ("POST", "/v1/models/other:predict"),
            ("POST", f"{base}/versions/99999:predict"),
            ("POST", f"{base}/versions/{10**30}:predict"),
            ("POST", f"{base}/versions/-1:predict"),
            ("POST", f"{base}/labels/none:predict"),
            ("POST", f"{base}:explode"),
            ("POST", f"{base}:classify"),
            ("POST", base),
            ("GET", f"{base}/versions/99999"),
            ("GET", f"{base}/versions/x/metadata"),
            ("GET", f"{base}:predict"),
            ("GET", "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
            ("GET", f"/v1/models/{'x' * 3000}"),
            ("GET", "/v1/models/" + "%00" * 5),
            ("GET", "/monitoring/prometheus/metrics"),  # the key has another role
            ("GET", "/../../etc/passwd"),
            ("PUT", f"{base}:predict"),
            ("DELETE", base),
            ("PATCH", "/rank"),
            ("GET", "/rank"),
            ("POST", "/" + rng.randbytes(6).hex()),
        ]
    )
    made = predict("bad path", target, _any(rng, target) if method == "POST" else b"")
    return dataclasses.replace(made, method=method, path=path)


MAKERS: tuple[Maker, ...] = (
    malformed,
    not_a_number,
    wrong_type,
    wrong_names,
    wrong_shape,
    unequal_lists,
    nothing,
    huge,
    absurd_image,
    bad_key,
    bad_path,
)


def _signature(rng: random.Random, target: Target) -> str:
    return rng.choice(sorted(target.signatures))


def _any(rng: random.Random, target: Target) -> Json:
    return good(target, _signature(rng, target), rng.choice(["inputs", "instances"]))


def _input(rng: random.Random, target: Target, dtypes: tuple[str, ...] = ()) -> tuple[str, str]:
    """A signature and one of its inputs, of one of the given types if there are any."""
    choices = [
        (signature, name)
        for signature, inputs in sorted(target.signatures.items())
        for name, given in sorted(inputs.items())
        if given.shape and (not dtypes or given.dtype in dtypes)
    ]
    return rng.choice(choices)


def _replaced(rng: random.Random, body: Json, name: str, value: Any) -> Json:
    """The columnar request with one value of an input replaced."""
    changed = copy.deepcopy(body)
    inner = changed["inputs"][name]
    while isinstance(inner[0], list):
        inner = rng.choice(inner)
    inner[rng.randrange(len(inner))] = value
    return changed


def _listed(value: Any) -> bool:
    return isinstance(value[0], list)


def _stretched(row: list[Any], width: int) -> list[Any]:
    return [row[i % len(row)] for i in range(width)]
