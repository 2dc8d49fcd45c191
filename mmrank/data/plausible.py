"""Finds values that can be read but are implausible, and says what was probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from mmrank.data.cells import as_numbers
from mmrank.data.checks import known_ids
from mmrank.data.findings import TRAINING, Finding, found, whole
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.words import MISSING_WORDS, words_for_missing
from mmrank.data.list_checks import split_column
from mmrank.data.time_checks import plausible_times
from mmrank.outputs import shown
from mmrank.schema import Schema

NO_USER_WORDS = (*MISSING_WORDS, "None", "null", "NULL")
# Grades above STEEP have gains 2^grade − 1 that make lower grades negligible; the gains of grades
# above OVERFLOW are beyond float32.
STEEP, OVERFLOW = 30, 127


def check_plausible(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Finds values of the tables that can be read but are hardly meant so.

    Args:
      frames: The tables that could be read.
    """
    for feature in schema.side("item", "query", "user"):
        table = "catalog" if feature.side == "item" else "lists"
        frame = frames.get(table)
        if frame is None or feature.column not in frame:
            continue
        file, values = getattr(schema, table).file, frame[feature.column]
        yield from kind_of(feature.kind).doubt(file, values, feature)
    for table in ("lists", "events"):
        spec, frame = getattr(schema, table), frames.get(table)
        if spec is not None and frame is not None and spec.time in frame:
            yield from plausible_times(spec.file, frame[spec.time])
    yield from _users(schema, frames)
    if "lists" in frames:
        yield from _grades(schema, frames["lists"])


def _users(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Finds ids that name no user, empty events, and lists and events that share no user."""
    lists, events = frames.get("lists"), frames.get("events")
    for table, frame in (("lists", lists), ("events", events)):
        spec = getattr(schema, table)
        if spec is None or frame is None or spec.user not in frame or not len(frame):
            continue
        users = frame[spec.user]
        yield from words_for_missing(spec.file, users, NO_USER_WORDS, "count as the id of one user")
        if known_ids(users).isna().all():
            yield whole(
                spec.file,
                spec.user,
                "no row has a user",
                "name another column, or remove `user`",
                fatal=False,
            )
    if schema.events is not None and events is not None and not len(events):
        yield whole(
            schema.events.file, None, "no rows", "every history is empty; add events", fatal=False
        )
    if schema.events is None or schema.lists.user is None or lists is None or events is None:
        return
    if schema.lists.user not in lists or schema.events.user not in events:
        return
    asking = known_ids(lists[schema.lists.user]).dropna()
    acting = known_ids(events[schema.events.user]).dropna()
    if not len(asking) or not len(acting) or asking.isin(set(acting)).any():
        return
    yield whole(
        schema.events.file,
        schema.events.user,
        f"no user of {schema.lists.file} has an event, so every history is empty: ids such as "
        f"{shown(asking.iloc[0])} there, {shown(acting.iloc[0])} here",
        "write the ids of both tables the same way",
        fatal=False,
    )


def _grades(schema: Schema, lists: pd.DataFrame) -> Iterator[Finding]:
    """Finds grades so high that only the highest gains, 2^grade − 1, count; and useless lists.

    Lists are useless if none in the validation split has a relevant item.
    """
    feature = schema.label("grade")
    if feature is None or feature.column not in lists:
        return
    file, column = schema.lists.file, feature.column
    grades = as_numbers(lists[column])
    remedy = "use few grades such as 0 to 4, for instance the logarithm of a count"
    yield from found(
        file,
        column,
        np.isfinite(grades) & (grades > OVERFLOW),
        lists[column],
        f"grades above {OVERFLOW}, whose gain 2^grade - 1 exceeds float32",
        remedy,
    )
    if np.isfinite(grades).any() and STEEP < np.nanmax(grades) <= OVERFLOW:
        yield whole(
            file,
            column,
            f"grades up to {np.nanmax(grades):g}: by the gain 2^grade - 1 only the highest count",
            remedy,
            fatal=False,
        )
    split = split_column(schema, lists)
    if split is None:
        return
    valid = (split == "valid").to_numpy()
    if valid.any() and not (grades[valid] > 0).any():
        yield whole(
            file,
            column,
            "no validation list has a relevant item (grade above 0), so epochs of a ranker of "
            "grades cannot be compared",
            "grade relevant items above 0, or put other lists in the split valid",
            fatal=False,
            concerns=TRAINING,
        )
