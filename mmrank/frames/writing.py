"""A caller's DataFrames as a dataset folder, which is all that training reads."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmrank.data.tables import DataError, as_ids, hash_splits
from mmrank.frames.columns import (
    CATALOG,
    LISTS,
    MEDIA,
    SPLIT,
    Columns,
    check_column,
    make_schema,
)
from mmrank.schema import COMPUTED, Schema, save_schema

logger = logging.getLogger(__name__)
MEDIA_NAME = "media"  # of the folder with the media files, or of the link to it
LEAST = 3  # lists, for one of each split


def write_frames(
    columns: Columns,
    judged: pd.DataFrame,
    catalog: pd.DataFrame | None,
    folder: pathlib.Path,
    media: str | os.PathLike[str] | None = None,
) -> Schema:
    """The schema of the dataset that is written into a folder; the frames stay as they are.

    Args:
      columns: What their columns are.
      judged: A row per candidate of a list.
      catalog: A row per item; None if the items' columns stand in `judged`.
      folder: The folder, which is made.
      media: Folder or zip archive that paths of media files lead from; None if they lead from the
        working directory, or the cells hold the files' bytes.

    Raises:
      DataError: A column is missing or cannot be written, or there are too few lists.
      SchemaError: A feature is none.
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
    """The first row of each item."""
    return frame[~as_ids(frame[item]).duplicated().to_numpy()]


def list_keys(columns: Columns, judged: pd.DataFrame) -> pd.Series:
    """A text [N] that tells lists apart."""
    first, *others = (as_ids(judged[c]).fillna("") for c in columns.keys)
    for other in others:
        first = first + " | " + other
    return first


def _lists(columns: Columns, schema: Schema, judged: pd.DataFrame) -> pd.DataFrame:
    """The rows that can be learned from, with list ids and splits."""
    keys = list_keys(columns, judged)
    alone = (keys.map(keys.value_counts()) < 2).to_numpy()
    if alone.any():
        logger.info("left out: %s lists of one candidate, which teach no order", f"{alone.sum():,}")
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
    """80/10/10 by a hash of the list; where few lists leave a split empty, one in ten in turn."""
    split = hash_splits(keys)
    if len(set(split)) == 3:
        return split
    codes, _ = pd.factorize(keys, sort=True)
    turn = np.array(["test", "valid", *["train"] * 8], dtype=object)
    return turn[codes % 10]


def _chosen(schema: Schema, side: str, frame: pd.DataFrame, keep: list[str]) -> pd.DataFrame:
    """The columns of a table that anything names, each once."""
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
        frame = frame.assign(**{column: _writable(frame[column])})
    frame.columns = [str(c) for c in frame.columns]
    try:
        frame.to_parquet(file, index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{file.stem}: cannot be kept as a table: {error}") from error


def _writable(values: pd.Series) -> pd.Series:
    """The column, objects of several types as text; lists and mappings stay."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if values.dtype != object:
        return values
    known = values.dropna()
    if known.map(lambda v: isinstance(v, (str, list, tuple, dict, np.ndarray))).all():
        return values
    return values.astype("string")


def _with_media(
    schema: Schema, judged: pd.DataFrame, items: pd.DataFrame, folder: pathlib.Path
) -> tuple[pd.DataFrame, pd.DataFrame, str | None]:
    """The tables with names of media files, and the name of their folder, None without."""
    features = [f for f in schema.features if f.kind in MEDIA]
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
    return os.path.abspath(value) if str(value).strip() else None


def _named(value: str | bytes, root: pathlib.Path, name: str) -> str:
    """The name below the root of a file, written there if it is given by its bytes."""
    if isinstance(value, str):
        return os.path.relpath(value, root)
    (root / name).write_bytes(value)
    return name
