"""Reads the tables of a prepared dataset and joins them by item indices. It writes nothing."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids
from mmrank.data.columns import TABLES, check_columns, column_types, named_columns
from mmrank.data.conversion import refuse_nested
from mmrank.data.findings import DataError, offenders
from mmrank.data.numbering import number_events, number_lists
from mmrank.data.reading import FOUND, read_table
from mmrank.data.splits import SPLITS
from mmrank.schema import Catalog, Events, Lists, Schema, load_schema

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared dataset in memory: the schema, its tables and the item indices.

    Attributes:
      folder: The folder that it was read from; media paths are relative to it.
      schema: Its schema.
      catalog: One row per item, in file order; row i is the item with index i.
      lists: One row per candidate, sorted so that the rows of a list are consecutive. Added columns
        are `_item` (item index, int32), `_split` (train, valid or test) and, if the schema names
        the time of lists, `_time` (float seconds).
      events: One row per event sorted by user, then time, then file order, with `_item` (−1 for
        an item that the catalogue lacks) and `_time` (float seconds); None without events.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> row = dataset.rows("test").iloc[0]  # a candidate of a test list
      >>> bool(dataset.item_ids[row["_item"]] == row["item_id"])
      True
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


def load_dataset(
    folder: str | pathlib.Path,
    schema: Schema | None = None,
    read: Mapping[str, pd.DataFrame] | None = None,
) -> Dataset:
    """The dataset in a folder with a schema.yaml.

    Lists without a split column are divided 80/10/10 by a hash of the list id.

    Args:
      folder: The folder.
      schema: Used instead of the schema.yaml in the folder.
      read: Tables that `read_one` has already read, by name.

    Raises:
      SchemaError: The schema is missing or wrong.
      DataError: A table or column is missing, an item id of the catalogue is repeated, or a list
        has an unknown item.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> len(dataset.catalog), dataset.lists["list_id"].nunique()
      (60, 20)
      >>> lists = {split: len(dataset.rows(split)) for split in ("train", "valid", "test")}
      >>> sum(lists.values()) == len(dataset.lists)
      True
    """
    folder = pathlib.Path(folder)
    schema = load_schema(folder) if schema is None else schema
    catalog, lists, events = (
        read[table] if read and table in read else read_one(folder, schema, table)
        for table in TABLES
    )
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
                "is a duplicate item id; keep one row per item",
            )
        )
    catalog = catalog.reset_index(drop=True)
    lists = number_lists(schema, lists, numbers)
    if events is not None:
        events = number_events(schema, events, numbers)
    return Dataset(folder, schema, catalog, lists, events)


def read_one(folder: pathlib.Path, schema: Schema, table: str) -> pd.DataFrame | None:
    """The rows of `catalog`, `lists` or `events` as in the file; None without that table.

    The schema decides which columns are read as text and which as numbers; see `column_types`.

    Raises:
      DataError: `read_table` raises, or an id, a text or a category is a list or an object.
    """
    spec = getattr(schema, table)
    if spec is None:
        return None
    if not spec.file:
        columns = [c for t, c, _ in named_columns(schema) if t == table]
        return pd.DataFrame({c: pd.Series(dtype=object) for c in columns})
    single, texts, numbers = column_types(schema, table)
    frame = read_table(
        folder / spec.file,
        single | texts,
        schema.sensitive,
        numbers=numbers,
        reading=spec,
    )
    for what in frame.attrs.get(FOUND, ()):
        logger.info("%s: %s", table, what)
    for column in sorted(single & set(frame.columns)):
        refuse_nested(folder / spec.file, frame[column])
    for column in sorted((texts - single) & set(frame.columns)):
        refuse_nested(folder / spec.file, frame[column], lists=True)
    return tidied(frame, spec)


def tidied(frame: pd.DataFrame, spec: Catalog | Lists | Events) -> pd.DataFrame:
    """The rows that a table's `repeated` and `short` keep, with their row numbers as the index."""
    file = pathlib.Path(spec.file)
    keys = [getattr(spec, role, None) for role in ("list", "item")]
    named = [key for key in keys if key is not None]
    if any(key not in frame for key in named):
        return frame  # the check of columns reports the missing column
    if getattr(spec, "repeated", None) is not None:
        ids = pd.DataFrame({key: as_ids(frame[key]) for key in named})
        twice = ids.duplicated() & ids.notna().all(axis=1)
        frame = _left(
            frame,
            twice,
            f"{file.name}: %s repeated rows of an item, left out",
        )
    if isinstance(spec, Lists) and spec.short is not None:
        ids = as_ids(frame[spec.list])
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
