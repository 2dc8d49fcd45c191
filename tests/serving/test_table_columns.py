"""Columns of tables as inputs of an export, without an export."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.serving.request import Column
from mmrank.serving.table_columns import ColumnReader

PRICE = Column("price", "number", "item", "float32", False)
SIZE = Column("size", "category", "item", "string", False)
TAGS = Column("tags", "tags", "item", "string", False, "|")


def reader() -> ColumnReader:
    return ColumnReader(lambda name: None)


def test_unreadable_numbers_are_reported() -> None:
    values = pd.Series(["1,299.00", "9.5", None, " ", "NA", "1,299.00", "good"])
    read = reader()
    got = read.arrays(PRICE, values, len(values))
    assert got["price_present"].tolist() == [False, True] + [False] * 5
    assert got["price"][1] == np.float32(9.5)
    assert read.unusable == {"price": 2}  # different values


def test_sizes_and_tags_are_read_as_in_a_dataset() -> None:
    sizes = reader().arrays(SIZE, pd.Series([38.0, 38.5, np.nan]), 3)
    assert sizes["size"].tolist() == ["38", "38.5", ""]
    tags = pd.Series([["red", None, 38.0], [], None], dtype=object)
    assert reader().arrays(TAGS, tags, 3)["tags"].tolist() == ["red|38", "", ""]
