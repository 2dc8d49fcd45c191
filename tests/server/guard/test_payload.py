"""Limits of what a request's tensors may contain."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.server.errors import ServingError
from mmrank.server.guard.audit import begin
from mmrank.server.guard.options import Limits
from mmrank.server.guard.payload import PayloadCheck

LIMITS = Limits(candidates=5, request_candidates=8, image_megapixels=1, request_megapixels=2.5)


def check(signature: str = "serving_default", **tensors: Any) -> str | None:
    """The reason why the tensors are refused; None if they are accepted."""
    arrays = {
        n: t if isinstance(t, np.ndarray) else np.array(t, object) for n, t in tensors.items()
    }
    try:
        asyncio.run(PayloadCheck(LIMITS)(signature, arrays))
    except ServingError as error:
        return error.message if error.code == "INVALID_ARGUMENT" else error.code
    return None


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", width, height) + bytes(9)


def test_candidates_are_counted_per_list_and_per_request() -> None:
    assert check(items=[["a"] * 5]) is None
    assert check(items=[["a"] * 6]) == "6 candidates or events in one list; the most is 5"
    assert check(items=[["a"] * 4] * 3) == "12 candidates in one request; the most is 8"
    assert check(history_items=[["a"] * 6], items=[["a"]]) is not None
    assert check(items=["a"] * 8) is None  # looked up one by one
    assert check(items=["a"] * 9) == "9 candidates in one request; the most is 8"
    assert check(items=np.empty([9, 0], object)) == "9 candidates in one request; the most is 8"
    assert check(query=["a"] * 8) is None
    assert check(query=["a"] * 9) == "9 candidates in one request; the most is 8"
    assert check(scalar=np.float32(3)) is None
    assert check(x=np.zeros([1, 99], np.float32)) is None  # not a list in any model


def test_counts_are_recorded() -> None:
    async def facts() -> dict[str, Any]:
        actual = begin()
        await PayloadCheck(LIMITS)("rank_items", {"items": np.full([2, 4], "a", object)})
        return actual

    assert asyncio.run(facts()) == {"lists": 2, "candidates": 8}


def test_images_are_limited_each_and_in_total() -> None:
    assert check(photo=[[png(1000, 1000), png(1000, 1000)]]) is None
    one = check(photo=[[png(1001, 1000)]])
    assert one is not None
    assert one.startswith("an image is too large: 1 megapixels; send at most 1 megapixels")
    three = check(photo=[png(1000, 1000)] * 3)
    assert three == "the images have 3 megapixels together; the most of a request is 2.5"


def test_texts_that_begin_like_an_image_pass() -> None:
    assert (
        check(title=["BMW 320d touring in black leather", "GIF89a", b"BMW" * 20, "x" * 99]) is None
    )


def message(candidates: int, photo: bytes = b"") -> bytes:
    lists = ExampleListWithContext()
    for _ in range(candidates):
        lists.examples.add().features.feature["photo"].bytes_list.value.append(photo)
    return lists.SerializeToString()


def test_serialized_lists_are_parsed_and_counted() -> None:
    name = "tensorflow/serving/predict"
    assert check(name, inputs=[message(5), message(3)]) is None
    assert check(name, inputs=[message(6)]) == "6 candidates or events in one list; the most is 5"
    assert check(name, inputs=[message(3)] * 3) == "9 candidates in one request; the most is 8"
    assert "too large" in str(check(name, inputs=[message(1, png(9000, 9000))]))
    for bad in (b"\xff not a message", "text", 3, "\ud800"):
        said = check(name, inputs=[message(1), bad])
        assert said == "input inputs: row 1 is not a serialized ExampleListWithContext"


def example(photo: bytes = b"") -> bytes:
    one = tf.train.Example()
    one.features.feature["photo"].bytes_list.value.append(photo)
    return one.SerializeToString()


def test_serialized_examples_are_lists_of_one() -> None:
    name = "tensorflow/serving/regress"
    # More candidates than one list may have, and as many as a request may have.
    assert check(name, inputs=[example()] * 8) is None
    assert check(name, inputs=[example()] * 9) == "9 candidates in one request; the most is 8"
    assert check(name, inputs=[example(png(1000, 1000))] * 2) is None
    assert "too large" in str(check(name, inputs=[example(), example(png(9000, 9000))]))
    together = check(name, inputs=[example(png(1000, 1000))] * 3)
    assert together == "the images have 3 megapixels together; the most of a request is 2.5"
    for bad in (b"\xff not a message", "text", 3, "\ud800"):
        said = check(name, inputs=[example(), bad])
        assert said == "input inputs: row 1 is not a serialized Example"


def field(number: int, data: bytes) -> bytes:
    """A field of a message with less than 128 bytes of data."""
    return bytes([number << 3 | 2, len(data)]) + data


@pytest.mark.parametrize("signature", ["tensorflow/serving/predict", "tensorflow/serving/regress"])
def test_an_image_cannot_hide_behind_a_second_value(signature: str) -> None:
    # A feature with bytes, then floats: messages keep the last, TensorFlow's parser the first.
    both = field(1, field(1, png(9000, 9000))) + field(2, field(1, b""))
    hidden = field(1, field(1, field(1, b"photo") + field(2, both)))
    spec = {"photo": tf.io.RaggedFeature(tf.string)}
    assert tf.io.parse_example([hidden], spec)["photo"].to_list() == [[png(9000, 9000)]]
    row = hidden if signature.endswith("regress") else field(1, hidden)
    inputs = np.array([row], object)
    assert check(signature, inputs=inputs) is None
    (passed_on,) = inputs
    assert b"PNG" not in passed_on
    assert b"photo" in passed_on


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_must_be_finite(value: float) -> None:
    tokens = np.zeros([1, 2, 3, 4], np.float32)
    assert check(tokens=tokens) is None
    tokens[0, 1, 2, 3] = value
    assert check(tokens=tokens) == "input tokens: holds numbers that are not finite"
    assert check(price=np.array([[value]], np.float32)) is None


def test_files_and_memory_of_a_request_are_limited() -> None:
    limits = Limits(request_files=2, request_megabytes=1)

    def said(**tensors: Any) -> str | None:
        arrays = {n: np.array(t, object) for n, t in tensors.items()}
        try:
            asyncio.run(PayloadCheck(limits)("rank_items", arrays))
        except ServingError as error:
            return error.message
        return None

    assert said(photo=[png(1, 1)] * 2) is None
    assert said(photo=[png(1, 1)] * 3) == "3 files in one request; the most is 2"
    # TensorFlow counts every occurrence of a repeated text.
    assert said(items=[b"x" * 1000] * 900) is None
    assert "would take 1 MiB of memory; the most is 1" in str(said(items=[b"x" * 1000] * 1100))


def test_parts_of_messages_are_counted_before_they_are_parsed() -> None:
    examples = b"\x0a\x00" * 2_000_000
    assert "more than 8 parts" in str(check("tensorflow/serving/predict", inputs=[examples]))
    features = field(1, b"")[:1] + b"\x80\x80\x80\x01" + b"\x0a\x00" * (1 << 20)
    assert len(features) == 5 + 2**21
    said = check("tensorflow/serving/regress", inputs=[features])
    assert "more than 10,000 parts in one message" in str(said)


def test_large_payloads_are_checked_off_the_event_loop() -> None:
    """The event loop keeps running while megabytes of headers are read."""
    # A GIF with the largest number of small blocks, and a million texts.
    gif = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"\x21\xfe" + b"\x01a" * (1 << 23)

    async def longest(tensors: dict[str, np.ndarray]) -> float:
        loop, done, worst = asyncio.get_running_loop(), False, 0.0

        async def probe() -> None:
            nonlocal worst
            while not done:
                before = loop.time()
                await asyncio.sleep(0.001)
                worst = max(worst, loop.time() - before)

        probing = asyncio.create_task(probe())
        with contextlib.suppress(ServingError):
            await PayloadCheck(Limits())("any", tensors)
        done = True
        await probing
        return worst

    for value in (np.array([gif], object), np.full([20_000, 40], b"text", object)):
        assert asyncio.run(longest({"photo": value})) < 0.1


@pytest.mark.parametrize(
    ("value", "inline"),
    [
        (np.ones((1, 1_000, 9, 32), np.float32), True),  # the vectors of a usual list
        (np.ones((1, 2_000, 9, 128), np.float32), False),
        (np.full(4_096, "a", object), False),  # of 24 bytes each in TensorFlow
        (np.full(1_000, "a", object), True),
    ],
    ids=["numbers", "many numbers", "texts", "few texts"],
)
def test_what_is_small_is_checked_on_the_event_loop(
    value: np.ndarray, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[threading.Thread] = []
    monkeypatch.setattr(PayloadCheck, "_check", lambda *_: seen.append(threading.current_thread()))
    asyncio.run(PayloadCheck(Limits())("rank_embeddings", {"items": value}))
    assert (seen == [threading.current_thread()]) is inline
