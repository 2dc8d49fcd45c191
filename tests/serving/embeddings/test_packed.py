"""Item vectors as bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from mmrank.serving.embeddings.base import VectorShape
from mmrank.serving.embeddings.packed import Packing

TOKENS = np.array([[[1.5, -2.0], [0.25, 3.0]], [[0.0, 1.0], [-1.0, 8.0]]], np.float32)
PRESENT = np.array([[True, False], [True, True]])
# The second number is a hash, which float16 cannot represent; float32 only up to 2^24.
MATCH = np.array([[0.5, 16_777_213.0], [0.0, 3.0]], np.float32)
NONE = np.zeros([2, 0], np.float32)
PACKING = Packing(VectorShape(2, 2))


def test_a_row_is_type_presence_and_numbers() -> None:
    row = PACKING.pack(TOKENS, PRESENT, NONE, "float32")[0]
    assert row == struct.pack("<BBB4f", 1, 1, 0, 1.5, -2.0, 0.25, 3.0)
    half = PACKING.pack(TOKENS, PRESENT, NONE, "float16")[1]
    assert half == struct.pack("<BBB4e", 2, 1, 1, 0.0, 1.0, -1.0, 8.0)


def test_match_vectors_are_never_rounded() -> None:
    packing = Packing(VectorShape(2, 2, 2))
    row = packing.pack(TOKENS, PRESENT, MATCH, "float16")[0]
    assert row == struct.pack("<BBB4e2f", 2, 1, 0, 1.5, -2.0, 0.25, 3.0, 0.5, 16_777_213.0)
    found = packing.unpack([row])
    np.testing.assert_array_equal(found.match, MATCH[:1])
    # A row of a model without match features is unknown to a model with them.
    assert not packing.unpack(PACKING.pack(TOKENS, PRESENT, NONE, "float16")).known.any()


def test_rows_of_both_types_are_read_together() -> None:
    packing = PACKING
    single, half = (packing.pack(TOKENS, PRESENT, NONE, d) for d in ("float32", "float16"))
    found = packing.unpack([half[1], None, single[0]])
    assert found.known.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.tokens[[0, 2]], TOKENS[[1, 0]])
    np.testing.assert_array_equal(found.present[[0, 2]], PRESENT[[1, 0]])


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x01",
        struct.pack("<BBB4f", 3, 1, 0, 1, 1, 1, 1),
        struct.pack("<BBB5f", 1, 1, 0, 1, 1, 1, 1, 1),
        struct.pack("<BBB4f", 1, 7, 0, 1, 1, 1, 1),
        struct.pack("<BBB4f", 1, 1, 0, 1, float("nan"), 1, 1),
        struct.pack("<BBB4f", 2, 1, 0, 1, 1, 1, 1),
    ],
)
def test_a_malformed_row_is_unknown(broken: bytes) -> None:
    packing = PACKING
    found = packing.unpack([broken, packing.pack(TOKENS, PRESENT, NONE, "float32")[0]])
    assert found.known.tolist() == [False, True]
    assert np.isfinite(found.tokens).all()


def test_numbers_beyond_float16_are_refused() -> None:
    with pytest.raises(ValueError, match="float16"):
        PACKING.pack(TOKENS * 1e5, PRESENT, NONE, "float16")
