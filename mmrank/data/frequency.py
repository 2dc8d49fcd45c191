"""How often items occur in training, which distinguishes popular items from rare and new ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.as_of import count_before, list_times, training_end
from mmrank.data.tables import Dataset


def training_counts(dataset: Dataset) -> np.ndarray:
    """How often each item occurs in training, int64 [items].

    Counts events before the end of training; for a shop without events, rows of training lists.
    """
    if dataset.events is None:
        seen = dataset.rows("train")["_item"]
    else:
        known = (dataset.events["_item"] >= 0) & (dataset.events["_time"] < training_end(dataset))
        seen = dataset.events["_item"][known]
    return np.bincount(seen, minlength=len(dataset.catalog))


def counts_at_lists(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """How often each row's item occurs in training before the row's list, int64 [rows].

    Counts events strictly before the list's time and before the end of training. So where every
    user has test lists, the counts of a list exclude the events that were held out for it. For a
    shop without events, counts rows of training lists.
    """
    items = rows["_item"].to_numpy(dtype=np.int64)
    if dataset.events is None:
        return training_counts(dataset)[items]
    known = dataset.events["_item"].to_numpy(dtype=np.int64)
    times = dataset.events["_time"].to_numpy(dtype=np.float64)
    until = np.minimum(list_times(dataset, rows), training_end(dataset))
    return count_before(known, times, items, until)
