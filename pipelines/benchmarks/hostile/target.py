"""The target of hostile requests: the server's signatures, features and keys."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
from PIL import Image

BATCH, LIST = 2, 3  # lists of a good request, and candidates per list
MESSAGES = "inputs"  # the input of signatures for serialized messages
NUMPY = {
    "DT_FLOAT": np.float32,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_BOOL": np.bool_,
    "DT_STRING": object,
}


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a signature: its type's name and its dimensions, −1 for any size."""

    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Target:
    """A running server.

    Attributes:
      rest: Base URL.
      grpc: Address.
      model: The model's name.
      signatures: Inputs by signature, without signatures of a single input.
      serialized: Names of the signatures of serialized messages.
      media: Names of the inputs that take a file's bytes.
      items: Some ids of its catalogue.
      keys: API keys `rank`, `metrics`, `admin` and `revoked`.
      most: Maximum number of candidates per list.
      bytes: Maximum number of bytes per request.
    """

    rest: str
    grpc: str
    model: str
    signatures: Mapping[str, Mapping[str, Input]]
    serialized: frozenset[str]
    media: frozenset[str]
    items: tuple[str, ...]
    keys: Mapping[str, str]
    most: int
    bytes: int

    def arrays(self, signature: str) -> dict[str, np.ndarray]:
        """The inputs of a good request: two lists of three candidates with few features."""
        return {n: self._array(n, i) for n, i in self.signatures[signature].items()}

    def _array(self, name: str, given: Input) -> np.ndarray:
        sizes = (BATCH, LIST, LIST, LIST)
        shape = tuple(s if d < 0 else d for d, s in zip(given.shape, sizes, strict=False))
        if name == "list_length":
            return np.full(shape, LIST, np.int32)
        if given.dtype == "DT_STRING":
            if name in self.media:
                value: Any = photo()
            else:
                value = self.items[0] if name.endswith("items") else "red dress"
            filled = np.empty(shape, object)
            filled[...] = value
            return filled
        return np.ones(shape, NUMPY[given.dtype])


def photo(size: int = 16) -> bytes:
    """A small photo as a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 40)).save(file, "PNG")
    return file.getvalue()


def look_at(
    rest: str, grpc: str, folder: pathlib.Path, keys: Mapping[str, str], most: int, bytes: int
) -> Target:
    """The target for a server and the folder of its version.

    Raises:
      httpx.HTTPError: The server does not answer.
    """
    headers = {"x-api-key": keys["rank"]}
    name = "ranker"
    reply = httpx.get(f"{rest}/v1/models/{name}/metadata", headers=headers, timeout=30)
    reply.raise_for_status()
    definitions = reply.json()["metadata"]["signature_def"]["signature_def"]
    signatures, serialized = {}, set()
    for key, definition in definitions.items():
        inputs = {
            n: Input(i["dtype"], tuple(int(d["size"]) for d in i["tensor_shape"].get("dim", [])))
            for n, i in definition["inputs"].items()
        }
        if not key.startswith("__") and len(inputs) > 1:
            signatures[key] = inputs
        elif list(inputs) == [MESSAGES]:
            serialized.add(key)
    card = json.loads((folder / "assets.extra" / "ranker.json").read_text(encoding="utf-8"))
    media = frozenset(f["name"] for f in card["features"] if f["media"])
    items = tuple(f"P{i:06d}" for i in range(10))
    return Target(
        rest, grpc, name, signatures, frozenset(serialized), media, items, keys, most, bytes
    )
