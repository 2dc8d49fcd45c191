"""Indices in a sorted table."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.matching.lookup import indices_in


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 100])
def test_indices_equal_those_of_a_sorted_search(size: int) -> None:
    rng = np.random.default_rng(size)
    table = np.append(np.unique(rng.integers(1, 500, size)), np.inf).astype(np.float32)
    values = np.concatenate([table[:-1], rng.integers(0, 502, 58)]).astype(np.float32)
    values = np.resize(values, (20, 5))
    found = indices_in(tf.constant(table), tf.constant(values))
    np.testing.assert_array_equal(found, np.searchsorted(table, values))
