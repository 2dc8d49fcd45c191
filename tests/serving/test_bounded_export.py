"""What an export bounds by itself: loaded by TensorFlow alone, without this package's server.

Seconds are measured loosely; the counts that tell the old way from the new are in
`tests/encoders/test_gif_walk.py` and `tests/encoders/test_bounded_texts.py`.
"""

from __future__ import annotations

import pathlib
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

MEGABYTE = 1_000_000
SECONDS = 10.0  # of the processor, on all threads
Inputs = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def served(
    exported: pathlib.Path, raw_request: Inputs
) -> Callable[[str, Inputs], dict[str, np.ndarray]]:
    signatures: Mapping[str, Any] = tf.saved_model.load(str(exported)).signatures

    def call(name: str, inputs: Inputs, seconds: float = SECONDS) -> dict[str, np.ndarray]:
        began = time.process_time()
        specs = signatures[name].structured_input_signature[1]
        given = {n: tf.constant(a, specs[n].dtype) for n, a in inputs.items()}
        try:
            return {n: t.numpy() for n, t in signatures[name](**given).items()}
        finally:
            assert time.process_time() - began < seconds

    call("serving_default", small(raw_request), seconds=300.0)  # which optimises the graph
    return call


def small(request: Inputs) -> Inputs:
    """The first list of a request, its first two candidates."""
    made = {
        n: a[:1, :2] if a.ndim == 2 and not n.startswith("history_") else a[:1]
        for n, a in request.items()
    }
    return {n: np.array(a) for n, a in made.items()} | {"list_length": np.array([2])}


HOSTILE = {
    "one character that becomes eighteen": "\ufdfa" * (MEGABYTE // 3),
    "marks on one letter": "a" + "\u0316\u0301" * (MEGABYTE // 4),
    "no spaces": "x" * MEGABYTE,
    "words of one letter": "a " * (MEGABYTE // 2),
    "ideographs": "壳" * (MEGABYTE // 3),
    "blanks": " " * MEGABYTE + "x",
    "no UTF-8": b"\x80" * MEGABYTE,
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("feature", ["query", "title"])
def test_a_megabyte_of_text_is_cut(served, raw_request: Inputs, feature: str, kind: str) -> None:
    request = small(raw_request)
    text = HOSTILE[kind]
    request[feature] = request[feature].astype(object)
    request[feature].flat[0] = text
    request[f"{feature}_present"][:] = True
    scores = served("serving_default", request)["scores"]
    assert np.isfinite(scores).all()


def test_what_stands_behind_the_bound_changes_nothing(served, raw_request: Inputs) -> None:
    """And what stands before it is read, ordinary texts as a whole."""
    scores = []
    for text in ("red shoe " * 2_000, "red shoe " * 2_000 + "blue shirt"):
        request = small(raw_request)
        request["query"], request["query_present"] = np.array([text], object), np.array([True])
        scores.append(served("serving_default", request)["scores"])
    np.testing.assert_array_equal(*scores)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(9)


def gif(body: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HH", 4, 4) + b"\0\0\0" + body + b";"


FRAME = b"\x2c" + struct.pack("<HHHH", 0, 0, 4, 4) + b"\0\x08"
PHOTOS = {
    "a PNG of four gigapixels": (png(65_535, 65_535), "pixels is too large"),
    "a PNG of 2**62 pixels": (png(2**31 - 1, 2**31 - 1), "pixels is too large"),
    "a GIF of 500,000 blocks": (gif(FRAME + b"\x01a" * (MEGABYTE // 2) + b"\0"), "too costly"),
    "a GIF of 300,000 extensions": (gif(b"\x21\0\0" * (MEGABYTE // 3)), "too costly"),
    "a GIF of 80,000 frames": (gif((FRAME + b"\0") * (MEGABYTE // 12)), "too costly"),
    "a GIF of a huge frame": (
        gif(b"\x2c" + struct.pack("<HHHH", 0, 0, 65_535, 65_535) + b"\0\x08\0"),
        "pixels is too large",
    ),
    "a JPEG of 2,000 scans": (b"\xff\xd8" + b"\xff\xda\0\2" * 2_000, ""),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_costly_photo_is_refused_before_it_is_decoded(
    served, raw_request: Inputs, name: str
) -> None:
    data, problem = PHOTOS[name]
    request = small(raw_request)
    request["photo"] = np.array([[data, b""]], object)
    request["photo_present"] = np.array([[True, False]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
        served("serving_default", request)
