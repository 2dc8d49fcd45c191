"""Checks of a schema, a catalogue, events and single values. They yield findings, not errors."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids, seconds
from mmrank.data.cells import as_numbers as as_numbers  # for modules that check a table, too
from mmrank.data.cells import texts as texts
from mmrank.data.columns import named_columns
from mmrank.data.findings import TRAINING, Finding, found, whole
from mmrank.data.kinds import KINDS, kind_of
from mmrank.data.lookalikes import other_writing
from mmrank.data.reading import columns_of
from mmrank.schema import COMPUTED, SCHEMA_FILE, Feature, Schema, SchemaError, did_you_mean

# In seconds this is after the year 5000; in milliseconds it is 1973.
FAR_SECONDS = 1e11
ADDED = ("_item", "_split", "_time")  # columns that loading adds to those of the tables
LEARNED = ("grade", "click", "cart", "purchase")  # training needs at least one of these labels


def check_schema(schema: Schema) -> Iterator[Finding]:
    """Finds unknown kinds, kinds on a side that does not allow them, and a missing label."""
    for feature in schema.features:
        where = f"feature {feature.name!r}"
        if feature.kind not in KINDS:
            near = did_you_mean(feature.kind, KINDS)
            yield whole(
                SCHEMA_FILE,
                None,
                f"{where} has the unknown kind {feature.kind!r}{near}",
                "use a known kind",
            )
        elif feature.side not in (sides := KINDS[feature.kind].sides):
            yield whole(
                SCHEMA_FILE,
                None,
                f"{where} of kind {feature.kind} cannot have side {feature.side}",
                f"use {', '.join(sides)}",
            )
    if schema.lists.file and not any(schema.label(name) for name in LEARNED):
        yield whole(
            SCHEMA_FILE,
            None,
            "no label grade, click, cart or purchase, so there is nothing to learn from",
            "add a feature {name: grade, kind: number, side: label, column: YOURS}",
            concerns=TRAINING,
        )


def check_columns(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Finds named columns that a table lacks, and those that loading would overwrite."""
    named: dict[tuple[str, str], list[str]] = {}
    try:
        for table, column, where in named_columns(schema):
            named.setdefault((table, column), []).append(where)
    except SchemaError as error:
        yield whole(SCHEMA_FILE, None, str(error), "add it or drop the feature")
    for (table, column), sources in named.items():
        if column in ADDED:
            yield whole(
                getattr(schema, table).file,
                column,
                "the name is reserved for a column that loading adds, but "
                f"{' and '.join(sources)} uses it",
                "rename the column",
            )
        if table in frames and column not in frames[table].columns:
            yield whole(
                getattr(schema, table).file,
                column,
                f"no such column, which {' and '.join(sources)} names"
                f"{did_you_mean(column, map(str, frames[table].columns))}",
                "add the column or fix the schema",
            )


def check_sensitive(
    folder: pathlib.Path, schema: Schema, frames: Mapping[str, pd.DataFrame]
) -> Iterator[Finding]:
    """Finds sensitive columns that no table has: the column of a misspelt name would be read."""
    if not schema.sensitive:
        return
    specs = [getattr(schema, table) for table in frames]
    there = {column for spec in specs for column in columns_of(folder / spec.file, spec)}
    for column in schema.sensitive:
        if column not in there:
            near = did_you_mean(column, there)
            what = f"sensitive names the column {column!r}, which no table has{near}"
            yield whole(SCHEMA_FILE, None, what, "fix the name or remove it from sensitive")


def check_catalog(schema: Schema, catalog: pd.DataFrame) -> Iterator[Finding]:
    """Finds missing and duplicated item ids, and feature values that cannot be read."""
    file, column = schema.catalog.file, schema.catalog.item
    if not len(catalog):
        yield whole(file, None, "no rows", "add the items")
    if column in catalog:
        ids = known_ids(catalog[column])
        yield from found(
            file,
            column,
            ids.isna(),
            catalog[column],
            "items without an id",
            "give every item an id",
        )
        yield from found(
            file,
            column,
            ids.duplicated() & ids.notna(),
            ids,
            "item ids that already appear in an earlier row",
            "keep one row per item",
        )
    for feature in schema.side("item"):
        yield from check_feature(file, catalog, feature)


def check_events(
    schema: Schema, events: pd.DataFrame, items: Collection[str] | None
) -> Iterator[Finding]:
    """Finds events without a user, item or time, and events of unknown items.

    Args:
      items: The catalogue's item ids; None if they could not be read.
    """
    names = schema.events
    if names is None:
        return
    if names.user in events:
        yield from found(
            names.file,
            names.user,
            known_ids(events[names.user]).isna(),
            events[names.user],
            "events without a user",
            "drop these rows",
        )
    if names.item in events:
        yield from check_references(names.file, events[names.item], items, fatal=False)
    if names.time in events:
        every = np.ones(len(events), dtype=bool)
        yield from check_times(names.file, events[names.time], names.time, every, fatal=True)


def check_references(
    file: str, column: pd.Series, items: Collection[str] | None, fatal: bool = True
) -> Iterator[Finding]:
    """Finds rows without an item id, and rows of items that the catalogue lacks.

    Args:
      items: The catalogue's item ids; None if they could not be read.
    """
    ids, name = known_ids(column), str(column.name)
    yield from found(
        file,
        name,
        ids.isna(),
        column,
        "rows without an item id",
        "add the item's id or drop the rows",
        fatal,
    )
    if items is not None:
        remedy = "add the items there or drop the rows" if fatal else "these events are left out"
        unknown = ids.notna() & ~ids.isin(items)
        how = other_writing(ids[unknown], items) if unknown.any() else ""
        yield from found(
            file,
            name,
            unknown,
            ids,
            f"items that are not in the catalogue{how}",
            f"write the ids of both tables the same way{', or ' if fatal else '; else '}{remedy}"
            if how
            else remedy,
            fatal,
        )


def check_feature(file: str, frame: pd.DataFrame, feature: Feature) -> Iterator[Finding]:
    """Finds faulty values of one feature or label."""
    if feature.column not in frame or feature.kind in COMPUTED:
        return
    values = frame[feature.column]
    column = feature.column
    if len(values) and texts(values).eq("").all():
        yield whole(
            file,
            column,
            f"all values of {feature.name} are missing",
            "fill the column or drop the feature",
            fatal=feature.name == "grade",
        )
        return
    yield from kind_of(feature.kind).check(file, values, feature)


def check_times(
    file: str, times: pd.Series, column: str, needed: np.ndarray, fatal: bool = False
) -> Iterator[Finding]:
    """Finds times that cannot be read or are missing.

    Args:
      needed: Rows that should have a time, bool [rows].
      fatal: Whether a missing time is an error.
    """
    read, empty = seconds(times), (texts(times) == "").to_numpy()
    yield from found(
        file,
        column,
        (np.isnan(read) & ~empty) | np.isinf(read),
        times,
        "values that are not times",
        "use seconds since 1970 or ISO dates",
    )
    yield from found(
        file,
        column,
        empty & needed,
        times,
        "rows without a time",
        "add the times: without one, all events of the user count as earlier",
        fatal,
    )


def known_ids(column: pd.Series) -> pd.Series:
    """Ids as text, missing where the cell is empty or blank."""
    ids = as_ids(column).astype("string")
    return ids.mask(ids.str.strip() == "")
