"""What can be wrong with a schema, a catalogue, events and single values. Nothing is raised."""

from __future__ import annotations

import collections
import contextlib
import pathlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from mmrank.data.attributes import attribute_lines
from mmrank.data.findings import GRADES, SHOWN, TRAINING, Finding, found, whole
from mmrank.data.reading import columns_of
from mmrank.data.reviews import ReviewKeys, read_reviews
from mmrank.data.stands import MISSING
from mmrank.data.tables import as_ids, named_columns, seconds
from mmrank.data.vectors import read_vector
from mmrank.schema import COMPUTED, SCHEMA_FILE, Feature, Schema, SchemaError, did_you_mean

# In seconds this is beyond the year 5000; in milliseconds it is 1973.
FAR_SECONDS = 1e11
ADDED = ("_item", "_split", "_time")  # columns that loading puts beside those of the tables
LEARNED = ("grade", "click", "cart", "purchase")  # labels, one of which a ranker learns


def check_schema(schema: Schema, kinds: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Kinds that nobody knows, kinds on a side where they cannot stand, and a missing grade."""
    for feature in schema.features:
        where = f"feature {feature.name!r}"
        if feature.kind not in kinds:
            near = did_you_mean(feature.kind, kinds)
            yield whole(
                SCHEMA_FILE,
                None,
                f"{where} has the unknown kind {feature.kind!r}{near}",
                "use a known kind",
            )
        elif feature.side not in kinds[feature.kind]:
            yield whole(
                SCHEMA_FILE,
                None,
                f"{where} of kind {feature.kind} stands on side {feature.side}",
                f"use {', '.join(kinds[feature.kind])}",
            )
    if schema.lists.file and not any(schema.label(name) for name in LEARNED):
        yield whole(
            SCHEMA_FILE,
            None,
            "no label 'grade', nor a click, cart or purchase, so there is nothing to learn from",
            "add a feature {name: grade, kind: number, side: label, column: YOURS}",
            concerns=TRAINING,
        )


def check_columns(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Every column that the schema names and a table lacks."""
    named: dict[tuple[str, str], list[str]] = {}
    try:
        for table, column, where in named_columns(schema):
            named.setdefault((table, column), []).append(where)
    except SchemaError as error:
        yield whole(SCHEMA_FILE, None, str(error), "add it or drop the feature")
    for (table, column), places in named.items():
        if column in ADDED:
            yield whole(
                getattr(schema, table).file,
                column,
                "a name that loading gives to a column of its own, and "
                f"{' and '.join(places)} names it",
                "call the column otherwise",
            )
        if table in frames and column not in frames[table].columns:
            yield whole(
                getattr(schema, table).file,
                column,
                f"no such column, which {' and '.join(places)} names"
                f"{did_you_mean(column, map(str, frames[table].columns))}",
                "add the column or mend the schema",
            )


def check_sensitive(
    folder: pathlib.Path, schema: Schema, frames: Mapping[str, pd.DataFrame]
) -> Iterator[Finding]:
    """Sensitive columns that no table has: a misspelt one would be read after all."""
    if not schema.sensitive:
        return
    places = [getattr(schema, table) for table in frames]
    there = {column for place in places for column in columns_of(folder / place.file, place)}
    for column in schema.sensitive:
        if column not in there:
            near = did_you_mean(column, there)
            what = f"sensitive names the column {column!r}, which no table has{near}"
            yield whole(SCHEMA_FILE, None, what, "mend the name or take it off the list")


def check_catalog(schema: Schema, catalog: pd.DataFrame) -> Iterator[Finding]:
    """Missing and duplicated item ids, and feature values that cannot be read."""
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
            "give every item its id",
        )
        yield from found(
            file,
            column,
            ids.duplicated() & ids.notna(),
            ids,
            "item ids that stand in an earlier row too",
            "keep one row per item",
        )
    for feature in schema.side("item"):
        yield from check_feature(file, catalog, feature)


def check_events(
    schema: Schema, events: pd.DataFrame, items: Collection[str] | None
) -> Iterator[Finding]:
    """Events without a user, item or time, and those of unknown items.

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
            "drop them",
        )
    if names.item in events:
        yield from check_references(names.file, events[names.item], items, fatal=False)
    if names.time in events:
        every = np.ones(len(events), dtype=bool)
        yield from check_times(names.file, events[names.time], names.time, every, fatal=True)


def check_references(
    file: str, column: pd.Series, items: Collection[str] | None, fatal: bool = True
) -> Iterator[Finding]:
    """Rows without an item id, and those of items that the catalogue lacks.

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
        "give the item's id or drop the rows",
        fatal,
    )
    if items is not None:
        remedy = "add the items there or drop the rows" if fatal else "such events are left out"
        yield from found(
            file,
            name,
            ids.notna() & ~ids.isin(items),
            ids,
            "items that the catalogue lacks",
            remedy,
            fatal,
        )


def check_feature(file: str, frame: pd.DataFrame, feature: Feature) -> Iterator[Finding]:
    """What is wrong with the values of one feature or label."""
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
    if feature.kind == "reviews":
        yield from _check_reviews(file, values, feature)
    if feature.kind == "vector":
        yield from _check_vectors(file, values, feature)
    if feature.kind == "attributes":
        yield from _check_attributes(file, values, feature)
    if feature.kind != "number":
        return
    numbers = as_numbers(values)
    wrong = np.isnan(numbers) & (texts(values) != "").to_numpy() & ~_says_missing(values)
    yield from found(
        file,
        column,
        wrong,
        values,
        "values that are not numbers",
        "write them as numbers, or leave them empty where unknown",
    )
    if feature.name == "grade":
        told = "use 0 for an irrelevant item and higher grades for better ones"
        bad = np.isinf(numbers) | (numbers < 0)
        yield from found(file, column, bad, values, "grades that are negative or infinite", told)
        missing = np.isnan(numbers) & ~wrong
        yield from found(
            file, column, missing, values, "grades that are missing", told, concerns=GRADES
        )
        return
    yield from found(
        file,
        column,
        np.isinf(numbers),
        values,
        "infinite numbers",
        "they count as missing",
        fatal=feature.side == "label",
    )
    lowest = 1 if feature.name == "position" else 0
    if feature.side == "label":
        yield from found(
            file,
            column,
            numbers < lowest,
            values,
            f"values below {lowest}",
            f"a {feature.name} is at least {lowest}",
        )


def _check_reviews(file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
    """The cells whose reviews cannot be read."""
    keys = _review_keys(feature)
    problems: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            read_reviews(value, keys)
        except ValueError as error:
            problems[row] = str(error)
    if problems:
        yield Finding(
            file,
            feature.column,
            len(problems),
            tuple((row + 1, problems[row]) for row in list(problems)[:SHOWN]),
            "reviews that cannot be read",
            "use a list of texts, or of mappings, and mind the names of their fields",
        )


def _check_attributes(file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
    """The cells whose attributes cannot be read."""
    problems: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            attribute_lines(value)
        except ValueError as error:
            problems[row] = str(error)
    if problems:
        yield Finding(
            file,
            feature.column,
            len(problems),
            tuple((row + 1, problems[row]) for row in list(problems)[:SHOWN]),
            "attributes that cannot be read",
            "write them as JSON {name: value}, or as `name: value; name: value`",
        )


def _check_vectors(file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
    """The cells that hold no vector, or one of another length than most."""
    problems: dict[int, str] = {}
    lengths: dict[int, int] = {}
    for row, value in enumerate(values):
        try:
            vector = read_vector(value)
        except ValueError as error:
            problems[row] = str(error)
        else:
            if vector is not None:
                lengths[row] = len(vector)
    if lengths:
        usual = collections.Counter(lengths.values()).most_common(1)[0][0]
        other = {row: n for row, n in lengths.items() if n != usual}
        problems |= {row: f"has {n} numbers, others have {usual}" for row, n in other.items()}
    if problems:
        rows = sorted(problems)
        yield Finding(
            file,
            feature.column,
            len(rows),
            tuple((row + 1, problems[row]) for row in rows[:SHOWN]),
            "vectors that cannot be used",
            "give every value as many finite numbers, or none where it is unknown",
        )


def empty_reviews(values: pd.Series, feature: Feature) -> int:
    """How many cells hold no review with a text; those that cannot be read are none of them."""
    keys, count = _review_keys(feature), 0
    for value in values:
        with contextlib.suppress(ValueError):
            count += not read_reviews(value, keys)
    return count


def _review_keys(feature: Feature) -> ReviewKeys:
    named = {key: feature.options.get(f"{key}_key") for key in ("text", "age", "time", "helpful")}
    return ReviewKeys(**{key: name for key, name in named.items() if isinstance(name, str)})


def check_times(
    file: str, times: pd.Series, column: str, needed: np.ndarray, fatal: bool = False
) -> Iterator[Finding]:
    """Times that cannot be read, are missing, or are in milliseconds.

    Args:
      needed: Rows that should have a time, bool [rows].
      fatal: A missing time is an error.
    """
    read, empty = seconds(times), (texts(times) == "").to_numpy()
    yield from found(
        file,
        column,
        np.isnan(read) & ~empty,
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
        "give each its time: without it, all events of the shopper count as earlier",
        fatal,
    )
    yield from found(
        file,
        column,
        np.abs(as_numbers(times)) > FAR_SECONDS,
        times,
        "times that look like milliseconds",
        "divide them by 1000",
        fatal=False,
    )


def known_ids(column: pd.Series) -> pd.Series:
    """Ids as text, missing where the cell is empty or blank."""
    ids = as_ids(column).astype("string")
    return ids.mask(ids.str.strip() == "")


def texts(column: pd.Series) -> pd.Series:
    """The values as stripped text, "" where missing."""
    return column.astype("string").fillna("").str.strip()


def as_numbers(column: pd.Series) -> np.ndarray:
    """The values as float64, NaN where missing or not a number."""
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(texts(column), errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _says_missing(values: pd.Series) -> np.ndarray:
    return texts(values).isin(MISSING).to_numpy()
