"""What an export bounds by itself: loaded by TensorFlow alone, without this package's server.

Seconds are measured loosely; the counts that tell the old way from the new are in
`tests/encoders/test_gif_walk.py` and `tests/encoders/test_bounded_texts.py`.
"""

from __future__ import annotations

import pathlib
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

MEGABYTE = 1_000_000
SECONDS = 10.0  # of the processor, on all threads
Raw = str | bytes


@pytest.fixture(scope="module")
def served(small_export: pathlib.Path) -> Callable[..., np.ndarray]:
    """Scores of a query's two candidates, the first of which has a title and perhaps a photo."""
    rank = tf.saved_model.load(str(small_export)).signatures["serving_default"]

    def scores(
        query: Raw = "red shoe", title: Raw = "shoe", photo: bytes = b"", seconds: float = SECONDS
    ) -> np.ndarray:
        began = time.process_time()
        try:
            given = {
                "query": [query],
                "query_present": [True],
                "title": [[title, "shirt"]],
                "title_present": [[True, True]],
                "photo": [[photo, b""]],
                "photo_present": [[bool(photo), False]],
            }
            given = {n: tf.constant(v) for n, v in given.items()}
            return rank(**given, list_length=tf.constant([2]))["scores"].numpy()
        finally:
            assert time.process_time() - began < seconds

    scores(seconds=300.0)  # the first call optimises the graph
    return scores


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
def test_a_megabyte_of_text_is_cut(served, feature: str, kind: str) -> None:
    assert np.isfinite(served(**{feature: HOSTILE[kind]})).all()


def test_what_stands_behind_the_bound_changes_nothing(served) -> None:
    """And what stands before it is read."""
    long = "red shoe " * 2_000
    np.testing.assert_array_equal(served(title=long), served(title=long + "blue shirt"))
    assert not np.array_equal(served(title="red shoe"), served(title="blue shirt"))


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
def test_a_costly_photo_is_refused_before_it_is_decoded(served, name: str) -> None:
    data, problem = PHOTOS[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
        served(photo=data)
