"""A dataset whose test lists a search cannot look at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from mmrank.data.tables import Dataset

TEST = "test"


@dataclasses.dataclass(frozen=True)
class UntestedDataset(Dataset):
    """A dataset that gives its training and validation lists alone."""

    def rows(self, split: str) -> pd.DataFrame:
        """The candidate rows of `train` or `valid`.

        Raises:
          AssertionError: Another split was asked for, which is a mistake of the program.
        """
        if split not in ("train", "valid"):
            raise AssertionError(f"a search asked for the rows of {split!r}")
        return super().rows(split)


def without_test(dataset: Dataset) -> UntestedDataset:
    """The dataset without the labels of its test lists, whose rows nobody can ask it for.

    The rows stand where they stood, with item, shopper and time: scores of behaviour are computed
    at times that are spread over all lists, and would be others without them.
    """
    lists = dataset.lists.copy()
    test = (lists["_split"] == TEST).to_numpy()
    for feature in dataset.schema.side("label"):
        lists[feature.column] = lists[feature.column].astype(object).mask(test, np.nan)
    parts = {f.name: getattr(dataset, f.name) for f in dataclasses.fields(dataset)}
    return UntestedDataset(**parts | {"lists": lists})
