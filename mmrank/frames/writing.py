"""Writes a caller's DataFrames as a dataset folder, the only input that training reads."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import logging
import numbers
import os
import pathlib
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmrank.data.cells import as_ids
from mmrank.data.conversion import texts_of, well_formed
from mmrank.data.kinds import kind_of
from mmrank.data.splits import hash_splits
from mmrank.data.tables import DataError
from mmrank.frames.columns import (
    CATALOG,
    LISTS,
    SPLIT,
    Columns,
    check_column,
    make_schema,
)
from mmrank.outputs import shown
from mmrank.schema import COMPUTED, Schema, save_schema

logger = logging.getLogger(__name__)
MEDIA_NAME = "media"  # name of the folder with the media files, or of the link to it
LEAST = 3  # lists: one for each split
# Types of cells that are kept as they are, and types that are written as text.
_NESTED = (list, tuple, dict, np.ndarray)
_PLAIN = (
    *(str, bytes, bytearray, memoryview, bool, np.generic, numbers.Real, decimal.Decimal),
    *(datetime.date, datetime.time, datetime.timedelta, pd.Period, uuid.UUID, os.PathLike),
)


def write_frames(
    columns: Columns,
    judged: pd.DataFrame,
    catalog: pd.DataFrame | None,
    folder: pathlib.Path,
    media: str | os.PathLike[str] | None = None,
) -> Schema:
    """Writes a dataset into a folder and returns its schema; the frames are not changed.

    Args:
      columns: The roles of the frames' columns.
      judged: A row per candidate of a list.
      catalog: A row per item; None if `judged` has the items' columns.
      folder: The folder, which is made.
      media: Folder or zip archive that paths of media files are relative to; None if they are
        relative to the working directory, or if the cells hold the files' bytes.

    Raises:
      DataError: A column is missing or cannot be written, or there are too few lists.
      SchemaError: A feature is not valid.
    """
    for name, frame in (("judged", judged), ("catalog", catalog)):
        if frame is not None and not isinstance(frame, pd.DataFrame):
            raise DataError(f"{name}: expected a DataFrame, got {type(frame).__name__}")
    check_column("judged", judged, columns.item, "item")
    items = first_of_each(judged, columns.item) if catalog is None else catalog
    check_column("catalog", items, columns.item, "item")
    schema = make_schema(columns, judged, items, None if media is None else MEDIA_NAME)
    folder.mkdir(parents=True)
    if media is not None:
        (folder / MEDIA_NAME).symlink_to(pathlib.Path(media).absolute())
    else:
        judged, items, named = _with_media(schema, judged, items, folder)
        schema = dataclasses.replace(schema, media=named)
    lists = _lists(columns, schema, judged)
    _write(_chosen(schema, "item", items, [columns.item]), folder / CATALOG, [columns.item])
    kept = [schema.lists.list, columns.item, SPLIT, columns.user, columns.time]
    ids = [schema.lists.list, columns.item, *([columns.user] if columns.user else [])]
    _write(_chosen(schema, "list", lists, [c for c in kept if c is not None]), folder / LISTS, ids)
    save_schema(schema, folder)
    return schema


def first_of_each(frame: pd.DataFrame, item: str) -> pd.DataFrame:
    """Returns the first row of each item."""
    return frame[~as_ids(frame[item]).duplicated().to_numpy()]


def list_keys(columns: Columns, judged: pd.DataFrame) -> pd.Series:
    """Returns the key [N] of each row's list, a text."""
    first, *others = (as_ids(judged[c]).fillna("") for c in columns.keys)
    for other in others:
        first = first + " | " + other
    return first


def _lists(columns: Columns, schema: Schema, judged: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of lists with two candidates or more, with list ids and splits."""
    keys = list_keys(columns, judged)
    if columns.group is not None and (keys.str.strip() == "").any():
        raise DataError(
            f"judged, column {columns.group!r}: {(keys.str.strip() == '').sum():,} rows without a "
            "list id; give every row its list's id, or leave these out"
        )
    alone = (keys.map(keys.value_counts()) < 2).to_numpy()
    if alone.any():
        logger.info(
            "left out: %s lists of one candidate, from which no order can be learned",
            f"{alone.sum():,}",
        )
        judged, keys = judged[~alone], keys[~alone]
    count = keys.nunique()
    if count < LEAST:
        raise DataError(
            f"judged: {count} lists of two candidates or more by {', '.join(columns.keys)}; at "
            f"least {LEAST} are needed to learn, to choose and to test"
        )
    split = judged[columns.split] if columns.split is not None else _splits(keys)
    return judged.assign(**{schema.lists.list: keys, SPLIT: split})


def _splits(keys: pd.Series) -> np.ndarray:
    """Returns splits of 80/10/10 by a hash of the list.

    If that leaves a split empty, since lists are few, each ten lists in turn are split 8/1/1.
    """
    split = hash_splits(keys)
    if len(set(split)) == 3:
        return split
    codes, _ = pd.factorize(keys, sort=True)
    turn = np.array(["test", "valid", *["train"] * 8], dtype=object)
    return turn[codes % 10]


def _chosen(schema: Schema, side: str, frame: pd.DataFrame, keep: list[str]) -> pd.DataFrame:
    """Returns the columns of a table that the schema or `keep` names, each once."""
    of_items = side == "item"
    named = [
        f.column
        for f in schema.features
        if (f.side == "item") == of_items and f.kind not in COMPUTED
    ]
    return frame[list(dict.fromkeys([*keep, *named]))]


def _write(frame: pd.DataFrame, file: pathlib.Path, ids: list[str]) -> None:
    frame = frame.assign(**{c: as_ids(frame[c]) for c in ids})
    for column in frame:
        frame = frame.assign(**{column: _writable(file.stem, frame[column])})
    frame.columns = [str(c) for c in frame.columns]
    try:
        frame.to_parquet(file, index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{file.stem}: cannot be kept as a table: {error}") from error


def _writable(table: str, values: pd.Series) -> pd.Series:
    """Returns the column with objects of plain types as text; lists and mappings are unchanged.

    Raises:
      DataError: A cell has another type, or the column mixes lists or mappings with plain values.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = _uncoded(values)
    if isinstance(values.dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        return values.astype("string")  # Parquet would store the number behind a period
    if values.dtype != object:
        return values
    known = values.dropna()
    nested = known.map(lambda v: isinstance(v, _NESTED)).to_numpy(bool)
    if nested.all():
        return values
    wrong = nested | ~known.map(lambda v: isinstance(v, _PLAIN)).to_numpy(bool)
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        row = int(np.flatnonzero(values.notna())[index]) + 1
        raise DataError(
            f"{table}, column {values.name!r}: row {row}: {shown(known.iloc[index])} "
            f"({type(known.iloc[index]).__name__}) is neither a text nor a number; give one of "
            "these, or a list in every row"
        )
    return texts_of(values).map(lambda v: well_formed(v) if isinstance(v, str) else None)


def _uncoded(values: pd.Series) -> pd.Series:
    """Returns the values of a column of categories.

    Whole numbers stay exact even if some values are missing.
    """
    kind = values.cat.categories.dtype
    if kind.kind in "iu" and values.isna().any():
        kind = pd.api.types.pandas_dtype("UInt64" if kind.kind == "u" else "Int64")
    if kind.kind == "b" and values.isna().any():
        kind = pd.BooleanDtype()
    return values.astype(kind)


def _with_media(
    schema: Schema, judged: pd.DataFrame, items: pd.DataFrame, folder: pathlib.Path
) -> tuple[pd.DataFrame, pd.DataFrame, str | None]:
    """Returns the tables with names of media files, and the files' folder (None without media).

    The lists are the first table, the items the second.
    """
    features = [f for f in schema.features if kind_of(f.kind).media]
    if not features:
        return judged, items, None
    tables = {"item": items, "list": judged}
    paths: dict[tuple[str, str], pd.Series] = {}
    for feature in features:
        table = "item" if feature.side == "item" else "list"
        paths[table, feature.column] = tables[table][feature.column].map(_path, "ignore")
    found = [v for values in paths.values() for v in values.dropna()]
    held = [v for v in found if isinstance(v, bytes)]
    if held and len(held) < len(found):
        raise DataError("media: some cells hold files and others paths; give all in one form")
    if held:
        root = folder / MEDIA_NAME
        root.mkdir()
    else:
        parents = {os.path.dirname(p) for p in found}
        root = pathlib.Path(os.path.commonpath(parents) if parents else os.getcwd())
        (folder / MEDIA_NAME).symlink_to(root)
    for number, ((table, column), values) in enumerate(paths.items()):
        names = [
            None if v is None or v is pd.NA or v != v else _named(v, root, f"{number}-{row}")
            for row, v in enumerate(values)
        ]
        tables[table] = tables[table].assign(**{column: np.array(names, object)})
    return tables["list"], tables["item"], MEDIA_NAME


def _path(value: Any) -> str | bytes | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value) or None
    if not isinstance(value, (str, os.PathLike)):
        raise DataError(
            f"media: {shown(value)} ({type(value).__name__}) is neither the bytes of a file nor "
            "its path"
        )
    return os.path.abspath(value) if str(value).strip() else None


def _named(value: str | bytes, root: pathlib.Path, name: str) -> str:
    """Returns a file's name relative to the root; a file given by its bytes is written there."""
    if isinstance(value, str):
        return os.path.relpath(value, root)
    (root / name).write_bytes(value)
    return name
