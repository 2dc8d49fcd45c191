"""The limits of an export itself: TensorFlow loads it without this package's server.

Seconds are measured loosely. The counts that distinguish the old way from the new are in
`tests/encoders/test_gif_walk.py` and `tests/encoders/test_bounded_texts.py`.
"""

from __future__ import annotations

import contextlib
import pathlib
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

MEGABYTE = 1_000_000
SECONDS = 10.0  # processor time of all threads
Raw = str | bytes


@pytest.fixture(scope="module")
def served(small_export: pathlib.Path) -> Callable[..., np.ndarray]:
    """Scores of a query's two candidates; the first has a title and possibly a photo."""
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
def test_a_megabyte_of_text_is_truncated(served, feature: str, kind: str) -> None:
    assert np.isfinite(served(**{feature: HOSTILE[kind]})).all()


def test_text_beyond_the_limit_changes_nothing(served) -> None:
    """The text before the limit is still read."""
    long = "red shoe " * 2_000
    np.testing.assert_array_equal(served(title=long), served(title=long + "blue shirt"))
    assert not np.array_equal(served(title="red shoe"), served(title="blue shirt"))


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(9)


def gif(body: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HH", 4, 4) + b"\0\0\0" + body + b";"


def jpeg(scans: int) -> bytes:
    """A progressive JPEG of 64 x 64 pixels whose scans hold no data."""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, 64, 64, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\0\0\x2c" * scans + b"\xff\xd9"


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
    "a JPEG of 2,000 scans": (jpeg(2_000), "2000 scans is too costly"),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_costly_photo_is_refused_before_it_is_decoded(served, name: str) -> None:
    data, problem = PHOTOS[name]

    def refused() -> None:
        for _ in range(5):
            # When an op fails, TensorFlow stops the others, and may report one of those first.
            with contextlib.suppress(tf.errors.CancelledError):
                served(photo=data)
                return

    with pytest.raises(tf.errors.InvalidArgumentError, match=problem):
        refused()
