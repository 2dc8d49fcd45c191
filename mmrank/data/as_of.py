"""What was known at a list's time: the time itself, and counts of the events strictly before it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset


def count_before(
    keys: np.ndarray, times: np.ndarray, at_keys: np.ndarray, at_times: np.ndarray
) -> np.ndarray:
    """The number of events of a key strictly before a time.

    Args:
      keys: The events' keys, int64 [events].
      times: The events' times in seconds, [events].
      at_keys: The key of each count, int64 [queries].
      at_times: The time of each count in seconds, [queries]; infinity counts all events.

    Returns:
      int64 [queries].

    Example:
      >>> import numpy as np
      >>> keys, times = np.array([1, 1, 2]), np.array([10.0, 20.0, 15.0])
      >>> count_before(keys, times, np.array([1, 1, 2]), np.array([20.0, np.inf, 15.0])).tolist()
      [1, 2, 0]
    """
    key = np.concatenate([at_keys, keys])
    time = np.concatenate([at_times, times])
    is_event = np.repeat([False, True], [len(at_keys), len(keys)])
    # At equal times queries are sorted before events, so that they do not count those events.
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
    """The end of the training events in seconds, exclusive; infinity if all events are.

    It is just after the last training list. Without training lists, as in a catalogue that the
    model has not seen, it is the time of the first list. Without times it is infinity.
    """
    if dataset.schema.lists.time is None:
        return np.inf
    train = dataset.rows("train")["_time"].dropna()
    if len(train):
        return float(np.nextafter(train.max(), np.inf))
    times = dataset.lists["_time"].dropna()
    return float(times.min()) if len(times) else np.inf


def list_times(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """The time before which events are known to each row's list, float64 seconds [rows].

    It is the list's own time if the list has one, otherwise `training_end`.
    """
    if dataset.schema.lists.time is None:
        return np.full(len(rows), np.inf)
    times = rows["_time"].to_numpy(dtype=np.float64)
    return np.where(np.isnan(times), training_end(dataset), times)
