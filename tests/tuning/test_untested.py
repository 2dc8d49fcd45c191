"""The dataset of a search: without test lists, and otherwise unchanged."""

from __future__ import annotations

import pandas as pd
import pytest

from mmrank.data.tables import Dataset
from mmrank.tuning.untested import without_test


def test_only_training_and_validation_rows_are_available(dataset: Dataset) -> None:
    held = without_test(dataset)
    for split in ("train", "valid"):
        pd.testing.assert_frame_equal(held.rows(split), dataset.rows(split), check_dtype=False)
    for split in ("test", "all"):
        with pytest.raises(AssertionError, match=f"the rows of '{split}'"):
            held.rows(split)


def test_test_rows_keep_their_index_and_lose_their_labels(dataset: Dataset) -> None:
    held = without_test(dataset)
    test = dataset.lists["_split"] == "test"
    labels = [f.column for f in dataset.schema.side("label")]
    assert test.any()
    assert labels
    assert held.lists.loc[test, labels].isna().all(axis=None)
    rest = held.lists.columns.difference(labels)
    pd.testing.assert_frame_equal(held.lists[rest], dataset.lists[rest])
    assert not dataset.lists.loc[test, "grade"].isna().any()
