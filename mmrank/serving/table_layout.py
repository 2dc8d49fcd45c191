"""Which columns of a table are what to an export, and the scores of the table's lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from mmrank.data.runs import run_starts
from mmrank.data.tables import as_ids
from mmrank.schema import Schema, did_you_mean
from mmrank.serving.card import Card
from mmrank.serving.many_lists import score_lists
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import Arrays, Inputs, RankError
from mmrank.serving.table_columns import ColumnReader

CONTEXT = ("query", "user")


@dataclasses.dataclass(frozen=True)
class Named:
    """Columns that the caller names; None for those that the export's schema names."""

    query: str | None = None
    item: str | None = None
    raw: bool = False  # read the products' own columns, even beside ids


@dataclasses.dataclass(frozen=True)
class TableLayout:
    """What the columns of a table are.

    Attributes:
      item: The column of item ids of the exported catalogue; None if the table has the products'
        own columns instead.
      features: Columns by feature; a feature without one is absent throughout.
      absent: The features without a column that the export would read.
    """

    item: str | None
    features: Mapping[str, str]
    absent: tuple[str, ...]


def list_keys(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """A text [N] for each row that is the same within a list alone.

    Args:
      frame: The rows.
      columns: Those that tell one list from another, at least one.
    """
    first, *others = (as_ids(frame[c]).fillna("").to_numpy(dtype=object) for c in columns)
    for other in others:
        first = first + "\x1f" + other
    return first


def find_layout(
    card: Card, schema: Schema, columns: Collection[str], where: str, named: Named | None = None
) -> TableLayout:
    """What the columns of a table are to an export.

    Args:
      card: The export's card.
      schema: The schema that lies beside it.
      columns: The table's columns.
      where: What the table is, for messages.
      named: What the caller says of them.

    Raises:
      RankError: A named column is missing, or lists or candidates cannot be told.
    """
    named = named or Named()
    for column in (named.query, named.item):
        if column is not None and column not in columns:
            raise RankError(f"{where}: no column {column!r}{did_you_mean(column, columns)}")
    features = {}
    for name in card.inputs.columns:
        source = next((f.column for f in schema.features if f.name == name), name)
        place = next((c for c in (source, name) if c in columns), None)
        if place is not None:
            features[name] = place
    if named.query is not None:
        features[_only_query(card, where)] = named.query
    item = named.item or next(
        (c for c in (schema.lists.item, schema.catalog.item) if c in columns), None
    )
    of_items = card.names("item")
    if named.raw:
        item = None
    if item is None and not any(name in features for name in of_items):
        raise RankError(
            f"{where}: neither a column {schema.lists.item!r} with item ids nor one of the "
            f"products' own ({', '.join(of_items)}); name the column of ids, or the products'"
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
    """The columns that tell one list from another: the schema's, or those of query and shopper.

    Args:
      card, schema, columns, where: As of `find_layout`.
      layout: What it gave.

    Raises:
      RankError: There is none of them.
    """
    if schema.lists.list in columns:
        return (schema.lists.list,)
    places = layout.features
    asked = tuple(dict.fromkeys(places[n] for n in card.names(*CONTEXT) if n in places))
    if not asked:
        raise RankError(
            f"{where}: no column {schema.lists.list!r} tells which rows are one list, and none of "
            "the query's; name one with --list-column"
        )
    return asked


def _only_query(card: Card, where: str) -> str:
    texts = [c.name for c in card.inputs.columns.values() if c.side == "query" and not c.media]
    if len(texts) != 1:
        has = ", ".join(texts) or "none"
        raise RankError(
            f"{where}: --query-column needs a ranker with one feature of the query, this one's: "
            f"{has}; call the columns by their names instead"
        )
    return texts[0]


def context_arrays(
    inputs: Inputs, layout: TableLayout, rows: pd.DataFrame, reader: ColumnReader
) -> Arrays:
    """Features of query and shopper with their flags, [B].

    Args:
      inputs: What the export takes.
      layout: What the columns are.
      rows: A row of each list.
      reader: Reads the values.
    """
    return _arrays(CONTEXT, inputs, layout, rows, reader)


def candidate_arrays(
    inputs: Inputs, layout: TableLayout, rows: pd.DataFrame, reader: ColumnReader
) -> Arrays:
    """Features of the pair, and of the item or its id as `items`, [N]; arguments as above."""
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
            place = layout.features.get(name)
            arrays |= reader.arrays(column, None if place is None else rows[place], len(rows))
    return arrays


def score_table(
    ranker: Ranker,
    layout: TableLayout,
    frame: pd.DataFrame,
    keys: np.ndarray,
    reader: ColumnReader,
) -> dict[str, np.ndarray]:
    """`scores`, each task's output by name, and `rank` from 1 in each list, [N].

    Equal scores are ranked in the order of the rows. Nothing is known of what shoppers did.

    Args:
      ranker: The export.
      layout: What the columns are.
      frame: Whole lists, the rows of each together.
      keys: What `list_keys` gave of it.
      reader: Reads the values.
    """
    starts = run_starts(keys)
    offsets = np.r_[starts, len(frame)].astype(np.int64)
    contexts = context_arrays(ranker.inputs, layout, frame.iloc[starts], reader)
    candidates = candidate_arrays(ranker.inputs, layout, frame, reader)
    found = score_lists(ranker, contexts, candidates, offsets)
    return found | {"rank": ranks(found["scores"], offsets)}


def ranks(scores: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The place of each candidate in its list, from 1, [N] int32."""
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-scores, lists))  # stable: equal scores keep their order
    places = np.empty(len(scores), np.int32)
    places[order] = np.arange(len(scores)) - offsets[:-1][lists[order]] + 1
    return places
