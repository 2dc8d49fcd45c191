"""A dataset whose test lists a search cannot read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset

TEST = "test"


@dataclasses.dataclass(frozen=True)
class UntestedDataset(Dataset):
    """A dataset that gives only its training and validation lists."""

    def rows(self, split: str) -> pd.DataFrame:
        """Returns the candidate rows of `train` or `valid`.

        Raises:
          AssertionError: Another split was requested, which is a programming error.
        """
        if split not in ("train", "valid"):
            raise AssertionError(f"a search asked for the rows of {split!r}")
        return super().rows(split)


def without_test(dataset: Dataset) -> UntestedDataset:
    """Returns the dataset without the labels of its test lists; their rows cannot be requested.

    The rows of the test lists stay in the table with item, user and time, because row numbers refer
    to the whole dataset.
    """
    lists = dataset.lists.copy()
    test = (lists["_split"] == TEST).to_numpy()
    for feature in dataset.schema.side("label"):
        lists[feature.column] = lists[feature.column].astype(object).mask(test, np.nan)
    parts = {f.name: getattr(dataset, f.name) for f in dataclasses.fields(dataset)}
    return UntestedDataset(**parts | {"lists": lists})
