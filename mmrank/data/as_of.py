"""What was known at a list's time: the time itself, and counts of events strictly before it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset


def count_before(
    keys: np.ndarray, times: np.ndarray, at_keys: np.ndarray, at_times: np.ndarray
) -> np.ndarray:
    """How many events of a key lie strictly before a time.

    Args:
      keys: The events' keys, int64 [events].
      times: The events' times in seconds, [events].
      at_keys: The keys asked about, int64 [queries].
      at_times: The times asked about in seconds, [queries]; infinity counts all events.

    Returns:
      int64 [queries].
    """
    key = np.concatenate([at_keys, keys])
    time = np.concatenate([at_times, times])
    is_event = np.repeat([False, True], [len(at_keys), len(keys)])
    # At the same time a question stands before the events, so that it does not count them.
    order = np.lexsort((is_event, time, key))
    running = np.cumsum(is_event[order])
    starts = run_starts(key[order])
    before_key = np.repeat(
        running[starts] - is_event[order][starts], np.diff(np.r_[starts, len(order)])
    )
    counts = np.empty(len(order), dtype=np.int64)
    counts[order] = running - before_key
    return counts[: len(at_keys)]


def training_end(dataset: Dataset) -> float:
    """The time in seconds from which on an event is no training event; infinity if all are.

    It is just after the last training list. Without training lists, as in a catalogue that the
    model never saw, it is the time of the first list, and without times there is no end.
    """
    if dataset.schema.lists.time is None:
        return np.inf
    train = dataset.rows("train")["_time"].dropna()
    if len(train):
        return float(np.nextafter(train.max(), np.inf))
    times = dataset.lists["_time"].dropna()
    return float(times.min()) if len(times) else np.inf


def list_times(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Up to when events are known to each row's list, float64 seconds [rows].

    A list's own time where it has one; otherwise the end of training.
    """
    if dataset.schema.lists.time is None:
        return np.full(len(rows), np.inf)
    times = rows["_time"].to_numpy(dtype=np.float64)
    return np.where(np.isnan(times), training_end(dataset), times)
