"""How often items were met in training: what tells popular items from rare and new ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.as_of import count_before, list_times, training_end
from mmrank.data.tables import Dataset


def training_counts(dataset: Dataset) -> np.ndarray:
    """How often each item was met in training, int64 [items].

    Events until the end of training; for a shop without events, rows of training lists.
    """
    if dataset.events is None:
        seen = dataset.rows("train")["_item"]
    else:
        known = (dataset.events["_item"] >= 0) & (dataset.events["_time"] < training_end(dataset))
        seen = dataset.events["_item"][known]
    return np.bincount(seen, minlength=len(dataset.catalog))


def counts_at_lists(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """How often each row's item was met in training before its list, int64 [rows].

    Events strictly before the list's time, and none after the end of training: where every shopper
    has test lists of their own, what was held out for one list is no part of its counts. For a
    shop without events, rows of training lists.
    """
    items = rows["_item"].to_numpy(dtype=np.int64)
    if dataset.events is None:
        return training_counts(dataset)[items]
    known = dataset.events["_item"].to_numpy(dtype=np.int64)
    times = dataset.events["_time"].to_numpy(dtype=np.float64)
    until = np.minimum(list_times(dataset, rows), training_end(dataset))
    return count_before(known, times, items, until)
