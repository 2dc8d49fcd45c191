"""Checks of the order and times of events: disorder, repetitions, and events after all lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.cells import seconds
from mmrank.data.checks import FAR_SECONDS, known_ids
from mmrank.data.findings import Finding, found, whole
from mmrank.schema import COMPUTED, Schema


def check_event_times(
    schema: Schema, events: pd.DataFrame, lists: pd.DataFrame | None
) -> Iterator[Finding]:
    """Finds events that are out of order, repeated, or not before the last list. All are warnings.

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
        "events that come after a later one of the same user",
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
        "events that repeat an earlier row: same user, item, type and time",
        "collaborative scores count them once; drop them if they are duplicates",
        fatal=False,
    )
    computed = [f.name for f in schema.features if f.kind in COMPUTED]
    if schema.lists.time is None:
        if computed:
            yield whole(
                schema.lists.file,
                None,
                f"lists without times, so for {', '.join(computed)} all events count as earlier",
                "give the times of the lists as lists.time, or remove later events from the table",
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
                "they are never used",
                fatal=False,
            )


def _before_the_last(users: pd.Series, times: np.ndarray) -> np.ndarray:
    """Whether an event is earlier than an event of the same user in a row above it, bool [rows]."""
    latest = pd.Series(times).groupby(users.to_numpy(dtype=object), sort=False).cummax()
    return times < latest.to_numpy()


def count_events(
    schema: Schema, events: pd.DataFrame, frames: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """The numbers of `items` of the catalogue and `users` of the lists that have no event.

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
