"""Joins lists and events with the catalogue: each row gets the index of its item."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids, seconds
from mmrank.data.findings import DataError, offenders
from mmrank.data.splits import splits_of
from mmrank.schema import Schema


def number_lists(schema: Schema, lists: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """The rows of lists in the form of `Dataset.lists`: a list's rows are consecutive, in order.

    Args:
      schema: The dataset's schema.
      lists: The rows of some lists; the index has their row numbers in the file.
      numbers: Item indices by item id.

    Raises:
      DataError: An item is not in the catalogue, or a split is unknown.
    """
    items = as_ids(lists[schema.lists.item])
    number = numbers.reindex(items).to_numpy()
    unknown = np.isnan(number.astype(np.float64))
    if unknown.any():
        raise DataError(
            offenders(
                schema.lists.file,
                schema.lists.item,
                unknown,
                items,
                f"is not in {schema.catalog.file}; add the item there or drop the row",
            )
        )
    list_ids = as_ids(lists[schema.lists.list])
    added = {
        schema.lists.list: list_ids,
        schema.lists.item: items,
        "_item": number.astype(np.int32),
        "_split": splits_of(schema, lists, list_ids),
    }
    if schema.lists.user is not None:
        added[schema.lists.user] = as_ids(lists[schema.lists.user])
    if schema.lists.time is not None:
        added["_time"] = seconds(lists[schema.lists.time])
    lists = lists.assign(**added)
    first = pd.factorize(lists[schema.lists.list])[0]
    if (np.diff(first) < 0).any():
        lists = lists.iloc[np.argsort(first, kind="stable")]
    return lists.reset_index(drop=True)


def number_events(schema: Schema, events: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """The events in the form of `Dataset.events`.

    Args:
      schema: The dataset's schema.
      events: The rows of events; the index has their row numbers in the file.
      numbers: Item indices by item id.

    Raises:
      DataError: A time cannot be read.
    """
    assert schema.events is not None
    items = as_ids(events[schema.events.item])
    number = numbers.reindex(items).fillna(-1).to_numpy().astype(np.int32)
    users = as_ids(events[schema.events.user])
    time = seconds(events[schema.events.time])
    if np.isnan(time).any():
        raise DataError(
            offenders(
                schema.events.file,
                schema.events.time,
                np.isnan(time),
                events[schema.events.time],
                "is not a time; use seconds since 1970 or an ISO date",
            )
        )
    events = events.assign(**{schema.events.user: users, "_item": number, "_time": time})
    return events.sort_values([schema.events.user, "_time"], kind="stable").reset_index(drop=True)
