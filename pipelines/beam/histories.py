"""The events of a user before a list, joined user by user."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.data.batches import HistoryArrays
from mmrank.encoders.behavior import DAY
from mmrank.schema import Schema

HEAD = ["list", "user", "time"]


@dataclasses.dataclass(frozen=True)
class Past:
    """The events before one list, oldest first.

    Attributes:
      list_id: The list.
      items, types: Item ids and event types; the empty text for an unknown type.
      ages: Days before the list, [H] float32.
    """

    list_id: str
    items: list[str]
    types: list[str]
    ages: np.ndarray


def heads(schema: Schema, first: pd.DataFrame) -> pd.DataFrame:
    """Id, user and time of the lists whose user is known, under the names of `HEAD`.

    Args:
      schema: Schema with the column of users.
      first: The first row of every list, from `number_lists`.
    """
    named = {
        "list": first[schema.lists.list],
        "user": first[schema.lists.user],
        "time": first.get("_time", np.nan),
    }
    frame = pd.DataFrame(named)
    return frame[frame["user"].notna()].reset_index(drop=True)


def pasts(schema: Schema, length: int, events: pd.DataFrame, lists: pd.DataFrame) -> Iterator[Past]:
    """Yields the events before each list that has any.

    Args:
      schema: Schema with the columns of events.
      length: Number of latest events to keep.
      events: The result of `number_events`, for known items and users.
      lists: The result of `heads`, for the same users.
    """
    spec = schema.events
    assert spec is not None
    codes, names = pd.factorize(events[spec.user])
    times = events["_time"].to_numpy(np.float64)
    none = np.zeros(len(events), np.int32)
    starts = np.searchsorted(codes, np.arange(len(names) + 1)).astype(np.int64)
    history = HistoryArrays("", length, starts, none, none, times)
    numbers = pd.Series(np.arange(len(names)), index=names)
    items = events[spec.item].to_numpy()
    types = np.full(len(events), "", dtype=object)
    if spec.type is not None:
        types = events[spec.type].astype("string").fillna("").to_numpy(dtype=object)
    users = numbers.reindex(lists["user"]).fillna(-1).to_numpy(np.int64)
    for list_id, user, time in zip(lists["list"], users, lists["time"], strict=True):
        seen = history.before(int(user), float(time))
        if seen.start == seen.stop:
            continue
        # Without a list time, the time of the user's last event is used.
        now = times[seen].max() if np.isnan(time) else time
        ages = ((now - times[seen]) / DAY).astype(np.float32)
        yield Past(list_id, list(items[seen]), list(types[seen]), ages)
