"""What can be read and is hardly what was meant: a finding each, with what probably was."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from mmrank.data.checks import FAR_SECONDS, as_numbers, known_ids, texts
from mmrank.data.findings import TRAINING, Finding, found, whole
from mmrank.data.list_checks import split_column
from mmrank.data.tables import seconds
from mmrank.schema import Feature, Schema

EARLY = datetime.datetime(1990, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
EXCEL_DAYS = (25_569, 73_050)  # 1970 and 2100 as Excel counts days
SEPARATORS = ("|", ",", ";", "/", "\t")
FEW = 0.1  # share of cells that hold another separator, from which on it is told
STEEP, OVERFLOW = 30, 127  # grades: gain 2^grade − 1 beyond what others take; beyond float32


def check_plausible(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Everything of the tables that could be read and is hardly meant so.

    Args:
      frames: The tables that could be read.
    """
    for feature in schema.side("item", "query", "user"):
        table = "catalog" if feature.side == "item" else "lists"
        frame = frames.get(table)
        if feature.kind == "tags" and frame is not None and feature.column in frame:
            yield from _tags(getattr(schema, table).file, frame[feature.column], feature)
    for table in ("lists", "events"):
        place, frame = getattr(schema, table), frames.get(table)
        if place is not None and frame is not None and place.time in frame:
            yield from _times(place.file, frame[place.time])
    yield from _shoppers(schema, frames)
    if "lists" in frames:
        yield from _grades(schema, frames["lists"])


def _tags(file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
    """Tags that hold another sign than the one that is to part them."""
    separator = str(feature.options.get("separator", "|"))
    said = texts(values)
    said = said[said != ""]
    if not len(said) or said.str.contains(separator, regex=False).any():
        return
    counts = {
        sign: int(said.str.contains(sign, regex=False).sum())
        for sign in SEPARATORS
        if sign != separator
    }
    sign = max(counts, key=lambda s: counts[s])
    if counts[sign] >= FEW * len(said):
        yield whole(
            file,
            feature.column,
            f"no value of {feature.name} holds its separator {separator!r}, and {counts[sign]:,} "
            f"of {len(said):,} hold {sign!r}, so that each is one tag",
            f"set separator: {sign!r} at the feature {feature.name} in schema.yaml",
            fatal=False,
        )


def _times(file: str, times: pd.Series) -> Iterator[Finding]:
    """Numbers that are no seconds since 1970, and dates that stand for an open end."""
    read = seconds(times)
    numbers = as_numbers(times)
    known = np.isfinite(numbers)
    column = str(times.name)
    as_dates = known & _are_dates(numbers)
    days = known & (numbers >= EXCEL_DAYS[0]) & (numbers <= EXCEL_DAYS[1])
    for wrong, what, remedy in (
        (
            as_dates,
            "times that look like dates written as numbers, such as 20231114",
            "write them as 2023-11-14, or as seconds since 1970",
        ),
        (
            days & ~as_dates,
            "times that look like days as Excel counts them",
            "write them as ISO dates, or as seconds since 1970: (days - 25569) * 86400",
        ),
        (
            np.isfinite(read) & (read < EARLY) & ~as_dates & ~days,
            "times before 1990",
            "times are seconds since 1970; leave unknown ones empty",
        ),
        (
            ~known & np.isfinite(read) & (np.abs(read) > FAR_SECONDS),
            "dates beyond the year 5000",
            "leave the time empty where it is unknown",
        ),
    ):
        yield from found(file, column, wrong, times, what, remedy, fatal=False)


def _are_dates(numbers: np.ndarray) -> np.ndarray:
    """Which numbers are the digits of a day from 1990 to 2100, bool [rows]."""
    whole_numbers = np.where(np.isfinite(numbers), numbers, 0.0).astype(np.int64)
    month, day = whole_numbers // 100 % 100, whole_numbers % 100
    year = whole_numbers // 10_000
    inside = (year >= 1990) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1)
    return np.asarray(inside & (day <= 31) & (whole_numbers == numbers))


def _shoppers(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Lists and events of which no shopper is the same."""
    lists, events = frames.get("lists"), frames.get("events")
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
        f"no user of {schema.lists.file} has an event, so that every history is empty: ids such as "
        f"{asking.iloc[0]!r} there, {acting.iloc[0]!r} here",
        "write the ids of both tables in one way",
        fatal=False,
    )


def _grades(schema: Schema, lists: pd.DataFrame) -> Iterator[Finding]:
    """Grades of whose gains, 2^grade − 1, the top alone counts; and lists that tell nothing."""
    feature = schema.label("grade")
    if feature is None or feature.column not in lists:
        return
    file, column = schema.lists.file, feature.column
    grades = as_numbers(lists[column])
    remedy = "grade by few steps such as 0 to 4, for instance by the logarithm of a count"
    yield from found(
        file,
        column,
        np.isfinite(grades) & (grades > OVERFLOW),
        lists[column],
        f"grades above {OVERFLOW}, whose gain 2^grade - 1 no float32 holds",
        remedy,
    )
    if np.isfinite(grades).any() and STEEP < np.nanmax(grades) <= OVERFLOW:
        yield whole(
            file,
            column,
            f"grades up to {np.nanmax(grades):g}: by the gain 2^grade - 1 the highest alone count",
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
            "no validation list has a relevant item, one graded above 0, so that no epoch of a "
            "ranker of grades is better than another",
            "grade relevant items above 0, or give the split valid other lists",
            fatal=False,
            concerns=TRAINING,
        )
