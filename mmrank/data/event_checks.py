"""What order and times of events tell: repetitions, disorder, and events from the future."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.checks import FAR_SECONDS, known_ids
from mmrank.data.findings import Finding, found, whole
from mmrank.data.tables import seconds
from mmrank.schema import COMPUTED, Schema


def check_event_times(
    schema: Schema, events: pd.DataFrame, lists: pd.DataFrame | None
) -> Iterator[Finding]:
    """Events out of order, told twice, or later than every list. None of them is an error.

    Args:
      lists: The lists; None if they could not be read.
    """
    names = schema.events
    if names is None or not {names.user, names.item, names.time} <= set(events):
        return
    users, times = known_ids(events[names.user]), seconds(events[names.time])
    yield from found(
        names.file,
        names.time,
        _before_the_last(users, times),
        events[names.time],
        "events that stand after a later one of the same shopper",
        "they are sorted when they are read",
        fatal=False,
    )
    key = {"user": users, "item": known_ids(events[names.item]), "time": times}
    if names.type is not None and names.type in events:
        key["type"] = events[names.type]
    yield from found(
        names.file,
        names.item,
        pd.DataFrame(key).duplicated(),
        events[names.item],
        "events that repeat an earlier row: same shopper, item, type and time",
        "collaborative scores count them once; drop them if nothing happened twice",
        fatal=False,
    )
    computed = [f.name for f in schema.features if f.kind in COMPUTED]
    if schema.lists.time is None:
        if computed:
            yield whole(
                schema.lists.file,
                None,
                f"lists without times, so for {', '.join(computed)} all events count as earlier",
                "name the time of the lists as lists.time, or leave later events out of the table",
                fatal=False,
            )
    elif lists is not None and schema.lists.time in lists:
        of_lists = seconds(lists[schema.lists.time])
        if not np.isnan(of_lists).all():
            yield from found(
                names.file,
                names.time,
                (times >= np.nanmax(of_lists)) & (np.abs(times) <= FAR_SECONDS),
                events[names.time],
                "events that are not before the last list",
                "nothing ever uses them",
                fatal=False,
            )


def _before_the_last(users: pd.Series, times: np.ndarray) -> np.ndarray:
    """Which events are earlier than one of the same shopper in a row above, bool [rows]."""
    latest = pd.Series(times).groupby(users.to_numpy(dtype=object), sort=False).cummax()
    return times < latest.to_numpy()


def count_events(
    schema: Schema, events: pd.DataFrame, frames: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """How many items of the catalogue, and shoppers of the lists, have no event at all.

    Args:
      frames: The tables that could be read.
    """
    names = schema.events
    counts: dict[str, Any] = {}
    if names is None:
        return counts
    for what, table, column, own in (
        ("items", "catalog", schema.catalog.item, names.item),
        ("users", "lists", schema.lists.user, names.user),
    ):
        if table in frames and column in frames[table] and own in events:
            ids = set(known_ids(frames[table][column]).dropna())
            counts[what] = len(ids - set(known_ids(events[own]).dropna()))
    return counts
