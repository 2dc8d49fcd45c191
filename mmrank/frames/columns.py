"""The roles of the columns of a caller's DataFrames, as features of a schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from mmrank.data.kinds import kind_of
from mmrank.data.tables import DataError
from mmrank.schema import (
    LABELS,
    Catalog,
    Lists,
    Schema,
    as_name,
    did_you_mean,
    schema_from_dict,
)

CATALOG, LISTS, LIST_ID, SPLIT = "catalog.parquet", "lists.parquet", "list_id", "split"
# Names of an export's inputs and outputs that are not features.
TAKEN = ("items", "list_length", "tokens", "present", "known", "scores")


@dataclasses.dataclass(frozen=True)
class Columns:
    """The roles of the columns, as the caller gives them.

    Attributes:
      item: The column of item ids in both tables.
      query: Columns of the judged table with texts of the query.
      grade: The judged table's column of grades, from 0.
      labels: The judged table's columns of other labels by label, such as {"click": "clicked"}.
      items: Columns of the catalogue by kind: text, image, number, category, tags and others.
      pair: Columns of the judged table with a number for query and item together.
      group: The judged table's column of list ids; None to identify lists by query and user.
      user, time, split: The judged table's columns of the user, the list's time and its split.
      features: Further features, in the form of a schema.yaml.
    """

    item: str
    query: tuple[str, ...] = ()
    grade: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    items: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    pair: tuple[str, ...] = ()
    group: str | None = None
    user: str | None = None
    time: str | None = None
    split: str | None = None
    features: tuple[Mapping[str, Any], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that identify a list."""
        if self.group is not None:
            return (self.group,)
        return (*self.query, *([self.user] if self.user else []))

    @property
    def list_column(self) -> str:
        """The column of list ids in the table that is written."""
        return self.keys[0] if len(self.keys) == 1 else LIST_ID


def as_names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names of columns that are given as one name, several or None."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def make_schema(
    columns: Columns, judged: pd.DataFrame, catalog: pd.DataFrame, media: str | None
) -> Schema:
    """Returns the schema of the dataset that is written from two tables.

    Raises:
      DataError: A column is missing, or no column identifies lists.
      SchemaError: A feature is not valid.
    """
    if not columns.keys:
        raise DataError(
            "judged: no column shows which rows are one list; name the query's columns as "
            "`query` or a column of list ids as `group`"
        )
    taken = set(TAKEN)
    features: list[dict[str, Any]] = []

    def add(kind: str, side: str, column: str, name: str | None = None, **options: Any) -> None:
        name = name or _name(column, side, taken)
        taken.add(name)
        features.append({"name": name, "kind": kind, "side": side, "column": column, **options})

    for column in columns.query:
        check_column("judged", judged, column, "query")
        add("text", "query", column)
    for kind, names in columns.items.items():
        for column in names:
            check_column("catalog", catalog, column, kind)
            add(kind, "item", column, **kind_of(kind).guessed_options(catalog[column]))
    for column in columns.pair:
        check_column("judged", judged, column, "pair")
        add("number", "pair", column, **kind_of("number").guessed_options(judged[column]))
    for feature in columns.features:
        where = "catalog" if feature.get("side") == "item" else "judged"
        column = feature.get("column", feature.get("name"))
        check_column(where, catalog if where == "catalog" else judged, column, "features")
        features.append(dict(feature))
    wanted = dict(columns.labels) | ({} if columns.grade is None else {"grade": columns.grade})
    for label, column in wanted.items():
        if label not in LABELS:
            raise DataError(f"labels: unknown label {label!r}{did_you_mean(label, LABELS)}")
        check_column("judged", judged, column, label)
        add("number", "label", column, label)
    for role in ("group", "user", "time", "split"):
        column = getattr(columns, role)
        if column is not None:
            check_column("judged", judged, column, role)
    own = {SPLIT} | ({LIST_ID} if columns.list_column == LIST_ID else set())
    taken_by = next((f for f in features if f["side"] != "item" and f.get("column") in own), None)
    if taken_by is not None:
        raise DataError(
            f"judged: the column {taken_by['column']!r} has the name of a column that `fit` adds; "
            "give it another name"
        )
    plain: dict[str, Any] = {
        "name": "fit",
        "catalog": dataclasses.asdict(Catalog(CATALOG, columns.item)),
        "lists": dataclasses.asdict(
            Lists(LISTS, columns.list_column, columns.item, columns.user, columns.time, SPLIT)
        ),
        "features": features,
    }
    return schema_from_dict(plain | ({} if media is None else {"media": media}))


def check_column(table: str, frame: pd.DataFrame, column: Any, role: str) -> None:
    """Checks that a table has a column.

    Raises:
      DataError: The table has no such column, or several of that name.
    """
    if column not in frame.columns:
        near = did_you_mean(str(column), map(str, frame.columns))
        if column is not None and column in frame.index.names:
            near = f"; it is the index: give {table}.reset_index()"
        raise DataError(f"{table}: no column {column!r}, which `{role}` names{near}")
    count = list(frame.columns).count(column)
    if count > 1:
        raise DataError(
            f"{table}: {count} columns are called {column!r}, which `{role}` names; give each a "
            "name of its own"
        )


def _name(column: str, side: str, taken: Collection[str]) -> str:
    """Returns a name for a column's feature that no other feature has."""
    name = as_name(str(column), side)
    if name in taken:
        name = f"{side}_{name}"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
