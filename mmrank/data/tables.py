"""The tables of a prepared dataset, read and joined to plain arrays. Nothing is ever written."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from mmrank.data.findings import DataError
from mmrank.data.reading import FOUND, read_table
from mmrank.data.reading import columns_of as columns_of  # for those who read no whole dataset
from mmrank.data.stands import refuse_nested, texts_of
from mmrank.schema import (
    COMPUTED,
    Catalog,
    Events,
    Feature,
    Lists,
    Schema,
    SchemaError,
    did_you_mean,
    load_schema,
)

TABLES = ("catalog", "lists", "events")
SPLITS = ("train", "valid", "test")
TENTHS = (*["train"] * 8, "valid", "test")
# Kinds whose value is the text that stands in a cell, and those of one text or a list of texts.
_ONE_TEXT = ("text", "category", "image", "video", "audio")
_TEXTS = ("tags",)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared dataset in memory: the schema, its tables and the item numbering.

    Attributes:
      folder: Where it was read from; media paths are relative to it.
      schema: Its schema.
      catalog: One row per item, in file order; row i is item number i.
      lists: One row per candidate, sorted so that a list's rows stand together. Two columns are
        added: `_item` (item number, int32) and `_split` (train, valid or test).
      events: One row per event sorted by user, then time, then file order, with `_item` (−1 for
        an item that the catalogue lacks) and `_time` (float seconds); None without behaviour.
    """

    folder: pathlib.Path
    schema: Schema
    catalog: pd.DataFrame
    lists: pd.DataFrame
    events: pd.DataFrame | None

    @property
    def item_ids(self) -> np.ndarray:
        """The item ids as text, [items]."""
        return self.catalog[self.schema.catalog.item].to_numpy(dtype=object)

    def rows(self, split: str) -> pd.DataFrame:
        """The candidate rows of one split, or of `all`."""
        if split == "all":
            return self.lists
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}, all")
        return self.lists[self.lists["_split"] == split]


def load_dataset(folder: str | pathlib.Path) -> Dataset:
    """The dataset in a folder with a schema.yaml.

    Lists without a split column are divided 80/10/10 by a hash of the list id.

    Raises:
      SchemaError: The schema is missing or wrong.
      DataError: A table or column is missing, or an id does not resolve.
    """
    folder = pathlib.Path(folder)
    schema = load_schema(folder)
    catalog, lists, events = (read_one(folder, schema, table) for table in TABLES)
    assert catalog is not None
    assert lists is not None
    check_columns(schema, catalog, lists, events)

    catalog = catalog.assign(**{schema.catalog.item: as_ids(catalog[schema.catalog.item])})
    numbers = pd.Series(np.arange(len(catalog), dtype=np.int32), index=catalog[schema.catalog.item])
    if not numbers.index.is_unique:
        raise DataError(
            offenders(
                schema.catalog.file,
                schema.catalog.item,
                numbers.index.duplicated(),
                catalog[schema.catalog.item],
                "is a duplicated item id; keep one row per item",
            )
        )
    catalog = catalog.reset_index(drop=True)
    lists = number_lists(schema, lists, numbers)
    if events is not None:
        events = number_events(schema, events, numbers)
    return Dataset(folder, schema, catalog, lists, events)


def read_one(folder: pathlib.Path, schema: Schema, table: str) -> pd.DataFrame | None:
    """The rows of `catalog`, `lists` or `events` as the file has them; None without that table.

    What is read as text and what as a number is told by the schema: see `column_types`.

    Raises:
      DataError: As `read_table`; or an id, a text or a category is a list or an object.
    """
    place = getattr(schema, table)
    if place is None:
        return None
    if not place.file:
        columns = [c for t, c, _ in named_columns(schema) if t == table]
        return pd.DataFrame({c: pd.Series(dtype=object) for c in columns})
    single, texts, numbers = column_types(schema, table)
    frame = read_table(
        folder / place.file,
        single | texts,
        schema.sensitive,
        numbers=numbers,
        told=place,
    )
    for what in frame.attrs.get(FOUND, ()):
        logger.info("%s: %s", table, what)
    for column in sorted(single & set(frame.columns)):
        refuse_nested(folder / place.file, frame[column])
    return tidied(frame, place)


def tidied(frame: pd.DataFrame, place: Catalog | Lists | Events) -> pd.DataFrame:
    """The rows that `repeated` and `short` of a table leave, under their numbers in the file."""
    file = pathlib.Path(place.file)
    keys = [getattr(place, role, None) for role in ("list", "item")]
    named = [key for key in keys if key is not None]
    if any(key not in frame for key in named):
        return frame  # which the check of columns tells
    if getattr(place, "repeated", None) is not None:
        ids = pd.DataFrame({key: as_ids(frame[key]) for key in named})
        twice = ids.duplicated() & ids.notna().all(axis=1)
        frame = _left(
            frame,
            twice,
            f"{file.name}: %s rows of an item that has one, left out",
        )
    if isinstance(place, Lists) and place.short is not None:
        ids = as_ids(frame[place.list])
        alone = ids.map(ids.value_counts()).lt(2) & ids.notna()
        frame = _left(frame, alone, f"{file.name}: %s lists of one candidate, left out")
    return frame


def _left(frame: pd.DataFrame, out: pd.Series, what: str) -> pd.DataFrame:
    if not out.any():
        return frame
    found = (*frame.attrs.get(FOUND, ()), what.replace("%s", f"{int(out.sum()):,}"))
    frame = frame[~out.to_numpy()]
    frame.attrs[FOUND] = found
    return frame


def column_types(
    schema: Schema, table: str
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The columns of a table that are one text, that are one or several, and that are numbers.

    A column that is both, as one of two features, is a text: a number can be had of it.
    """
    place = getattr(schema, table)
    side = {"catalog": ("item",), "lists": ("query", "user", "pair", "label")}.get(table, ())
    single, texts, numbers = types_of_features(schema.side(*side))
    roles = (getattr(place, role, None) for role in ("item", "list", "user", "type", "split"))
    single |= {str(column) for column in roles if column is not None}
    time = getattr(place, "time", None)  # a number or a date
    numbers |= frozenset([] if time is None else [str(time)])
    return single, texts - single, numbers - single - texts


def types_of_features(
    features: Iterable[Feature],
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """As `column_types`, of some features of one table."""
    read = [f for f in features if f.kind not in COMPUTED]
    texts = {f.column for f in read if f.kind in _TEXTS or f.column.endswith("*")}
    single = {f.column for f in read if f.kind in _ONE_TEXT} - texts
    numbers = {f.column for f in read if f.kind == "number"} - texts - single
    return frozenset(single), frozenset(texts), frozenset(numbers)


def check_columns(
    schema: Schema, catalog: pd.DataFrame, lists: pd.DataFrame, events: pd.DataFrame | None
) -> None:
    """Checks that every column the schema names is there.

    Raises:
      DataError: The first missing column, with its file and the nearest name.
    """
    frames = {"catalog": catalog, "lists": lists, "events": events}
    for table, column, where in named_columns(schema):
        frame = frames[table]
        if frame is not None and column not in frame.columns:
            raise DataError(
                f"{getattr(schema, table).file}: no column {column!r}, which {where} names"
                f"{did_you_mean(column, map(str, frame.columns))}"
            )


def named_columns(schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Every column that the schema names: its table, the column, and what in the schema names it.

    Raises:
      SchemaError: A history without events or without the user's column.
    """
    for table in TABLES:
        place = getattr(schema, table)
        for role in ("list", "item", "user", "type", "time", "split"):
            column = getattr(place, role, None)
            if column is not None:
                yield table, column, f"{table}.{role}"
    for feature in schema.features:
        where = f"feature {feature.name}"
        if feature.kind not in COMPUTED:
            yield "catalog" if feature.side == "item" else "lists", feature.column, where
        elif schema.events is None:
            raise SchemaError(f"{where}: a feature of kind {feature.kind} needs an events table")
        elif schema.lists.user is None:
            raise SchemaError(
                f"{where}: a feature of kind {feature.kind} needs lists.user, the user's column"
            )


def seconds(times: pd.Series) -> np.ndarray:
    """Times as float64 seconds since 1970, from numbers, dates or ISO texts; NaN where missing."""
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(times):
        return _since_1970(pd.to_datetime(times, utc=True))
    texts = times.astype("string")  # may mix the forms of ISO 8601, and numbers with them
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    # A number is one whatever date its digits could be: 1712050800 is no eighth of May 1712.
    dates = texts.mask(~np.isnan(numbers))
    read = _since_1970(pd.to_datetime(dates, format="ISO8601", errors="coerce", utc=True))
    return np.where(np.isnan(numbers), read, numbers)


def _since_1970(times: pd.Series) -> np.ndarray:
    # By microseconds: nanoseconds end in the year 2262, and an open end may be that of 9999.
    micros = times.dt.as_unit("us")
    since = micros.astype("int64").to_numpy(dtype=np.float64) / 1e6
    return np.where(micros.isna(), np.nan, since)


def as_ids(column: pd.Series) -> pd.Series:
    """Ids as text, so that 17 in one file and "17" in another are one; missing stays missing."""
    texts = texts_of(column)
    # A text once for each id, not for each row: of a log this is most of the memory.
    codes, ids = pd.factorize(texts)
    table = np.array([*ids, pd.NA], dtype=object)
    return pd.Series(table[codes], column.index, dtype=object, name=column.name)


def number_lists(schema: Schema, lists: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """The rows of lists as `Dataset.lists` has them, a list's rows together in their order.

    Args:
      schema: The dataset's schema.
      lists: Some lists' rows, from row 0 on or indexed by their number in the file.
      numbers: Item numbers by item id.

    Raises:
      DataError: An item is not in the catalogue, or a split is none.
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
        "_split": _splits(schema, lists, list_ids),
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


def _splits(schema: Schema, lists: pd.DataFrame, list_ids: pd.Series) -> pd.Series:
    if schema.lists.split is not None:
        split = as_ids(lists[schema.lists.split])
        wrong = ~split.isin(SPLITS).to_numpy()
        if wrong.any():
            raise DataError(
                offenders(
                    schema.lists.file,
                    schema.lists.split,
                    wrong,
                    split,
                    f"is not a split; use one of {', '.join(SPLITS)}",
                )
            )
        return split
    return pd.Series(hash_splits(list_ids), lists.index, dtype=object)


def hash_splits(list_ids: pd.Series, tenths: Sequence[str] = TENTHS) -> np.ndarray:
    """The split of each row by a hash of its list's id: the same on every machine.

    Args:
      list_ids: [rows].
      tenths: The split of each tenth of the hashes, ten names; 80/10/10 without.
    """
    codes, unique = pd.factorize(list_ids, use_na_sentinel=False)
    digits = [int(hashlib.sha256(str(i).encode()).hexdigest()[:8], 16) % 10 for i in unique]
    return np.array(tenths, dtype=object)[np.array(digits, dtype=np.int64)[codes]]


def number_events(schema: Schema, events: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """The events as `Dataset.events` has them; arguments as of `number_lists`.

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


def offenders(file: str, column: str, wrong: np.ndarray, values: pd.Series, what: str) -> str:
    """One line: file, column, the first offending rows with their values, and what is wrong.

    Rows are counted from 1, the header left out, by the index of `values`.
    """
    rows = np.flatnonzero(wrong)
    shown = ", ".join(f"row {values.index[r] + 1}: {values.iloc[r]!r}" for r in rows[:3])
    return f"{file}, column {column!r}: {len(rows)} value(s), {shown}: {what}"
