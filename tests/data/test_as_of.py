"""The end of training: the last training list and its events, and nothing later."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.data.as_of import list_times, training_end
from mmrank.data.frequency import training_counts
from mmrank.data.tables import Dataset
from mmrank.schema import schema_from_dict

SCHEMA = {
    "lists": {"time": "time", "split": "split"},
    "events": {},
    "features": [{"name": "price", "kind": "number", "side": "item"}],
}
EVENT_TIMES = [9.0, 10.0, 20.0, 20.0, 21.0, 30.0, 99.0]


def dataset(times: list[float], splits: list[str], timed: bool = True) -> Dataset:
    """Lists of one item each; the item has an event at each of `EVENT_TIMES`."""
    lists = pd.DataFrame({"_item": 0, "_split": splits, "_time": times})
    events = pd.DataFrame({"_item": 0, "_time": EVENT_TIMES})
    schema = SCHEMA if timed else SCHEMA | {"lists": {"split": "split"}}
    catalog = pd.DataFrame({"item_id": ["a"]})
    return Dataset(pathlib.Path("nowhere"), schema_from_dict(schema), catalog, lists, events)


@pytest.mark.parametrize(
    ("times", "splits", "counted"),
    [
        # Up to and including the second of the last training list; test lists do not move it.
        ([10, 20, 25, 99], ["train", "train", "valid", "test"], lambda t: t <= 20),
        ([10, 20, 25, 5], ["train", "train", "valid", "test"], lambda t: t <= 20),
        ([10, np.nan, 30, 99], ["train", "train", "valid", "test"], lambda t: t <= 10),
        # No training list: up to the first list, excluding its own second.
        ([30, 20, 99], ["test", "valid", "test"], lambda t: t < 20),
        ([np.nan, 99], ["test", "test"], lambda t: t < 99),
        ([np.nan, np.nan], ["test", "test"], lambda t: True),
    ],
)
def test_events_count_until_the_end_of_training(times, splits, counted) -> None:
    made = dataset([float(t) for t in times], splits)
    expected = sum(counted(t) for t in EVENT_TIMES)
    assert training_counts(made).tolist() == [expected]
    end = training_end(made)
    assert sum(t < end for t in EVENT_TIMES) == expected
    # A list without a time is treated as at the end of training.
    known = [end if np.isnan(t) else t for t in times]
    np.testing.assert_array_equal(list_times(made, made.lists), known)


def test_without_list_times_all_events_count() -> None:
    made = dataset([1.0, 2.0], ["train", "test"], timed=False)
    assert training_end(made) == np.inf
    assert training_counts(made).tolist() == [len(EVENT_TIMES)]
