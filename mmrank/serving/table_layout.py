"""Assigns the columns of a table to the inputs of an export, and scores the table's lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids
from mmrank.data.runs import run_starts
from mmrank.schema import Schema, did_you_mean
from mmrank.serving.card import Card
from mmrank.serving.many_lists import score_lists
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import Arrays, Inputs, RankError
from mmrank.serving.table_columns import ColumnReader

CONTEXT = ("query", "user")


@dataclasses.dataclass(frozen=True)
class Named:
    """Columns that the caller names; None for columns that the export's schema names."""

    query: str | None = None
    item: str | None = None
    raw: bool = False  # read the products' own columns, even if the table has ids, too


@dataclasses.dataclass(frozen=True)
class TableLayout:
    """The roles of a table's columns.

    Attributes:
      item: The column of item ids of the exported catalogue; None if the products' own columns are
        read instead.
      features: Columns by feature; a feature without a column is absent throughout.
      absent: The features that the export would read and that have no column.
    """

    item: str | None
    features: Mapping[str, str]
    absent: tuple[str, ...]


def list_keys(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Returns a key [N] for each row, a text that only the rows of the same list share.

    Args:
      frame: The rows.
      columns: The columns that identify a list, at least one.
    """
    first, *others = (as_ids(frame[c]).fillna("").to_numpy(dtype=object) for c in columns)
    for other in others:
        first = first + "\x1f" + other
    return first


def find_layout(
    card: Card, schema: Schema, columns: Collection[str], where: str, named: Named | None = None
) -> TableLayout:
    """Finds the columns of a table that are inputs of an export.

    Args:
      card: The export's card.
      schema: The schema in the export.
      columns: The table's columns.
      where: What the table is, for messages.
      named: The columns that the caller names.

    Raises:
      RankError: A named column is missing, a column is repeated, there are neither item ids nor
        the products' own columns, or a query column is named and the ranker does not have exactly
        one text feature of the query.
    """
    named = named or Named()
    for column in (named.query, named.item):
        if column is not None and column not in columns:
            raise RankError(f"{where}: no column {column!r}{did_you_mean(column, columns)}")
    features = {}
    for name in card.inputs.columns:
        source = next((f.column for f in schema.features if f.name == name), name)
        found = next((c for c in (source, name) if c in columns), None)
        if found is not None:
            features[name] = found
    if named.query is not None:
        features[_only_query(card, where)] = named.query
    item = named.item or next(
        (c for c in (schema.lists.item, schema.catalog.item) if c in columns), None
    )
    _refuse_repeated({*features.values(), *([] if item is None else [item])}, columns, where)
    of_items = card.names("item")
    if named.raw:
        item = None
    if item is None and not any(name in features for name in of_items):
        raise RankError(
            f"{where}: neither a column {schema.lists.item!r} with item ids nor a column with a "
            f"feature of the products ({', '.join(of_items)}); add one, or name the column of ids"
        )
    read = set(card.inputs.columns) - (set() if item is None else set(of_items))
    return TableLayout(
        item,
        {n: c for n, c in features.items() if n in read},
        tuple(n for n in card.inputs.columns if n in read and n not in features),
    )


def list_columns(
    card: Card, schema: Schema, columns: Collection[str], where: str, layout: TableLayout
) -> tuple[str, ...]:
    """Returns the columns that identify a list: the schema's, or those of query and user.

    Args:
      card, schema, columns, where: As for `find_layout`.
      layout: The layout that `find_layout` returned.

    Raises:
      RankError: The table has none of these columns.
    """
    if schema.lists.list in columns:
        return (schema.lists.list,)
    column_of = layout.features
    asked = tuple(dict.fromkeys(column_of[n] for n in card.names(*CONTEXT) if n in column_of))
    if not asked:
        raise RankError(
            f"{where}: neither a column {schema.lists.list!r} with list ids nor a column of the "
            "query, to show which rows are one list; name one with --list-column"
        )
    return asked


def _refuse_repeated(read: Collection[str], columns: Collection[str], where: str) -> None:
    for column in sorted(read):
        count = list(columns).count(column)
        if count > 1:
            raise RankError(
                f"{where}: {count} columns are called {column!r}; give each a name of its own"
            )


def _only_query(card: Card, where: str) -> str:
    texts = [c.name for c in card.inputs.columns.values() if c.side == "query" and not c.media]
    if len(texts) != 1:
        has = ", ".join(texts) or "none"
        raise RankError(
            f"{where}: --query-column needs a ranker with exactly one text feature of the query, "
            f"but this one has: {has}; name the columns like the features instead"
        )
    return texts[0]


def context_arrays(
    inputs: Inputs, layout: TableLayout, rows: pd.DataFrame, reader: ColumnReader
) -> Arrays:
    """Returns features of query and user with their flags, [B].

    Args:
      inputs: The export's inputs.
      layout: The roles of the columns.
      rows: A row of each list.
      reader: Reads the values.
    """
    return _arrays(CONTEXT, inputs, layout, rows, reader)


def candidate_arrays(
    inputs: Inputs, layout: TableLayout, rows: pd.DataFrame, reader: ColumnReader
) -> Arrays:
    """Returns features of the pair, and those of the item or its id as `items`, [N].

    Args:
      inputs, layout, reader: As for `context_arrays`.
      rows: A row of each candidate.
    """
    if layout.item is None:
        return _arrays(("item", "pair"), inputs, layout, rows, reader)
    ids = as_ids(rows[layout.item]).fillna("").to_numpy(dtype=object)
    return _arrays(("pair",), inputs, layout, rows, reader) | {"items": ids}


def _arrays(
    sides: Collection[str],
    inputs: Inputs,
    layout: TableLayout,
    rows: pd.DataFrame,
    reader: ColumnReader,
) -> Arrays:
    arrays: Arrays = {}
    for name, column in inputs.columns.items():
        if column.side in sides:
            source = layout.features.get(name)
            arrays |= reader.arrays(column, None if source is None else rows[source], len(rows))
    return arrays


def score_table(
    ranker: Ranker,
    layout: TableLayout,
    frame: pd.DataFrame,
    keys: np.ndarray,
    reader: ColumnReader,
) -> dict[str, np.ndarray]:
    """Returns `scores`, each task's output by name, and `rank` from 1 in each list, [N].

    Equal scores are ranked in the order of the rows. Users have no history.

    Args:
      ranker: The export.
      layout: The roles of the columns.
      frame: Whole lists, the rows of each list consecutive.
      keys: The result of `list_keys` for the frame.
      reader: Reads the values.
    """
    starts = run_starts(keys)
    offsets = np.r_[starts, len(frame)].astype(np.int64)
    contexts = context_arrays(ranker.inputs, layout, frame.iloc[starts], reader)
    candidates = candidate_arrays(ranker.inputs, layout, frame, reader)
    found = score_lists(ranker, contexts, candidates, offsets)
    return found | {"rank": ranks(found["scores"], offsets)}


def ranks(scores: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the position of each candidate in its ranked list, from 1, [N] int32."""
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-scores, lists))  # stable: equal scores keep their order
    positions = np.empty(len(scores), np.int32)
    positions[order] = np.arange(len(scores)) - offsets[:-1][lists[order]] + 1
    return positions
