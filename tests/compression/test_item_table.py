"""Stored tokens: the values read back, by the arithmetic of each storage format."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.compression.item_table import STORAGES, ItemTable

ROWS = np.array([2, 0, 2])


@pytest.fixture
def table() -> dict[str, np.ndarray]:
    """Five items of two tokens; one item has no present token, and one token is all zeros."""
    rng = np.random.default_rng(4)
    tokens = rng.normal(size=(5, 2, 6)).astype(np.float32) * [[[0.01], [30.0]]]
    tokens[0, 0] = 0
    present = rng.random((5, 2)) < 0.5
    match = np.array([[3.0 * k, 16_777_215.0 - k] for k in range(5)], np.float32)
    return {"tokens": tokens.astype(np.float32), "present": present, "match": match}


def test_full_returns_the_same_values(table: dict[str, np.ndarray]) -> None:
    given = ItemTable(table).gather(tf.constant(ROWS))
    assert np.array_equal(given["tokens"], table["tokens"][ROWS])
    assert np.array_equal(given["present"], table["present"][ROWS])


def test_float16_rounds_to_eleven_bits(table: dict[str, np.ndarray]) -> None:
    given = ItemTable(table, "float16").gather(tf.constant(ROWS))["tokens"].numpy()
    exact = table["tokens"][ROWS]
    assert given.dtype == np.float32
    assert np.all(np.abs(given - exact) <= np.abs(exact) * 2.0**-11 + 2.0**-25)
    assert not np.array_equal(given, exact)


def test_int8_is_off_by_half_a_step_at_most(table: dict[str, np.ndarray]) -> None:
    item_table = ItemTable(table, "int8")
    given = item_table.gather(tf.constant(ROWS))["tokens"].numpy()
    exact = table["tokens"][ROWS]
    for r in range(len(ROWS)):
        for m in range(2):
            step = max(abs(x) for x in exact[r, m]) / 127
            for got, x in zip(given[r, m], exact[r, m], strict=True):
                assert abs(got - x) <= step / 2 * (1 + 1e-5)
    assert np.array_equal(given[1, 0], np.zeros(6))  # the token of zeros
    largest = np.abs(exact).max(-1)
    assert np.allclose(np.abs(given).max(-1), largest, rtol=1e-6)
    assert item_table.tokens.stored.dtype == tf.int8


@pytest.mark.parametrize("storage", STORAGES)
def test_the_dtype_of_the_ranker_is_returned(storage: str, table: dict[str, np.ndarray]) -> None:
    half = tf.cast(table["tokens"], tf.bfloat16).numpy()
    given = ItemTable({**table, "tokens": half}, storage).gather(tf.constant(ROWS))["tokens"]
    assert given.dtype == tf.bfloat16


@pytest.mark.parametrize("storage", STORAGES)
def test_hashes_are_kept_as_they_are(storage: str, table: dict[str, np.ndarray]) -> None:
    given = ItemTable(table, storage).gather(tf.constant(ROWS))["match"]
    assert np.array_equal(given, table["match"][ROWS])


def test_bytes_shrink(table: dict[str, np.ndarray]) -> None:
    def size(storage: str) -> int:
        kept = ItemTable(table, storage).tokens.variables
        return sum(v.dtype.size * int(np.prod(v.shape)) for v in kept)

    assert size("full") == 5 * 2 * 6 * 4
    assert size("float16") == 5 * 2 * 6 * 2
    assert size("int8") == 5 * 2 * (6 + 4)


def test_unknown_storage_names_the_nearest(table: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="int8"):
        ItemTable(table, "int88")
