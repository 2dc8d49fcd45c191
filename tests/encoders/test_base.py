"""All kinds: their graph is traced once for the values that they were fitted on."""

from __future__ import annotations

import copy

import pandas as pd
import tensorflow as tf

from mmrank.encoders.category import Category
from mmrank.schema import Feature

BRAND = Feature("brand", "category", "item", "brand")


def numbers(kind: Category, *brands: str) -> list[int]:
    return kind.traced_preprocess()(tf.constant(brands)).numpy().ravel().tolist()


def test_a_graph_is_traced_once_after_each_fit() -> None:
    kind = Category(BRAND, {})
    kind.fit(pd.Series(["a", "a", "b", "b"]))
    first = kind.traced_preprocess()
    assert kind.traced_preprocess() is first
    known = set(numbers(kind, "a", "b"))
    assert known.isdisjoint(numbers(kind, "c", "d"))
    kind.fit(pd.Series(["c", "c", "d", "d"]))
    assert set(numbers(kind, "c", "d")) == known
    assert known.isdisjoint(numbers(kind, "a", "b"))
    restored = Category(BRAND, {})
    restored.fit(pd.Series(["a"]))
    restored.traced_preprocess()
    restored.restore(kind.state())
    assert numbers(restored, "a", "b", "c", "d") == numbers(kind, "a", "b", "c", "d")


def test_a_copy_has_its_own_graph() -> None:
    kind = Category(BRAND, {})
    kind.fit(pd.Series(["a"]))
    first = kind.traced_preprocess()
    assert copy.copy(kind).traced_preprocess() is not first
