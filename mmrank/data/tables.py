"""The tables of a prepared dataset, read and joined to plain arrays. Nothing is ever written."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mmrank.outputs import UserError
from mmrank.schema import COMPUTED, Schema, SchemaError, did_you_mean, load_schema

TABLES = ("catalog", "lists", "events")
SPLITS = ("train", "valid", "test")
# Words for a missing number in a text file.
MISSING = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")


class DataError(UserError):
    """Data that cannot be used; the message names the file, the column, the rows and the remedy."""


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
    lists = number_lists(schema, lists, numbers)
    if events is not None:
        events = number_events(schema, events, numbers)
    return Dataset(folder, schema, catalog, lists, events)


def read_one(folder: pathlib.Path, schema: Schema, table: str) -> pd.DataFrame | None:
    """The rows of `catalog`, `lists` or `events` as the file has them; None without that table.

    Raises:
      DataError: As `read_table`.
    """
    place = getattr(schema, table)
    if place is None:
        return None
    ids = [getattr(place, role, None) for role in ("item", "list", "user")]
    texts = [name for name in ids if name is not None]
    return read_table(folder / place.file, texts, schema.sensitive)


def read_table(
    path: pathlib.Path, texts: Collection[str] = (), without: Collection[str] = ()
) -> pd.DataFrame:
    """The rows of a .parquet, .csv, .tsv or .jsonl file (the latter three may be gzipped).

    Columns of a .csv or .tsv become numbers where no text is lost by it: `007` stays `007`. Only
    an empty cell is missing; `NA` and `null` are words, but in a column of numbers.

    Args:
      path: The file.
      texts: Columns of a .csv or .tsv that stay text whatever they hold, such as ids.
      without: Columns that are left out, if there are such.

    Raises:
      DataError: The file is missing, of unknown type, or cannot be read.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; the schema names it, so put it there or mend the name"
        )
    suffixes = [s for s in path.suffixes if s != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    try:
        if suffix == ".parquet":
            wanted = None if not without else [n for n in columns_of(path) if n not in without]
            return pd.read_parquet(path, columns=wanted).reset_index(drop=True)
        if suffix in (".csv", ".tsv"):
            frame = pd.read_csv(
                path,
                sep="\t" if suffix == ".tsv" else ",",
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                usecols=lambda name: name not in without,
            )
            return frame.apply(lambda c: c if c.name in texts else _numbers_where_faithful(c))
        if suffix == ".jsonl":
            frame = pd.read_json(path, lines=True, dtype=False, convert_dates=False)
            return frame.drop(columns=[c for c in without if c in frame])
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as {suffix}: {error}") from error
    raise DataError(f"{path}: unknown file type {suffix!r}; known: .parquet, .csv, .tsv, .jsonl")


def columns_of(path: pathlib.Path) -> list[str]:
    """The names of a table's columns, without reading more than its beginning."""
    suffixes = [s for s in path.suffixes if s != ".gz"]
    if suffixes[-1:] == [".parquet"]:
        return list(pq.read_schema(path).names)
    if suffixes[-1:] == [".jsonl"]:
        return [*map(str, pd.read_json(path, lines=True, nrows=1).columns)]
    return [*pd.read_csv(path, sep="\t" if suffixes[-1:] == [".tsv"] else ",", nrows=0).columns]


def _numbers_where_faithful(column: pd.Series) -> pd.Series:
    """The column as numbers if no text would be lost by it (`007` would), else as it stands."""
    values = column.mask(column.isin(MISSING))
    if values.str.match(r"^[+-]?0\d").any():
        return column
    numbers = pd.to_numeric(values, errors="coerce")
    lost = numbers.isna() & values.notna()
    return column if lost.any() or numbers.isna().all() else numbers


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
    dates = _since_1970(pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True))
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(dates), numbers, dates)


def _since_1970(times: pd.Series) -> np.ndarray:
    since = (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return since.to_numpy(dtype=np.float64)


def as_ids(column: pd.Series) -> pd.Series:
    """Ids as text, so that 17 in one file and "17" in another are one; missing stays missing."""
    if pd.api.types.is_float_dtype(column):
        whole = column.dropna() % 1 == 0
        if whole.all():
            column = column.astype("Int64")
    # A text once for each id, not for each row: of a log this is most of the memory.
    codes, ids = pd.factorize(column)
    texts = np.array([*ids.astype("string"), pd.NA], dtype=object)
    return pd.Series(texts[codes], column.index, dtype=object, name=column.name)


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


def hash_splits(list_ids: pd.Series) -> np.ndarray:
    """The split of each row by a hash of its list's id, 80/10/10: the same on every machine."""
    codes, unique = pd.factorize(list_ids, use_na_sentinel=False)
    digits = [int(hashlib.sha256(str(i).encode()).hexdigest()[:8], 16) % 10 for i in unique]
    names = np.array(["train"] * 8 + ["valid", "test"], dtype=object)
    return names[np.array(digits, dtype=np.int64)[codes]]


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
