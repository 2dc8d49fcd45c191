"""The columns of the tables that a schema names, and the kind of cells in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from mmrank.data.findings import DataError
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.base import NUMBERS, ONE_TEXT, TEXTS
from mmrank.schema import COMPUTED, Feature, Schema, SchemaError, did_you_mean

TABLES = ("catalog", "lists", "events")


def column_types(
    schema: Schema, table: str
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The columns of a table with one text, with one or several texts, and with numbers.

    A column that two features use as a text and as a number is read as a text, because a text can
    still be converted to a number.
    """
    spec = getattr(schema, table)
    side = {"catalog": ("item",), "lists": ("query", "user", "pair", "label")}.get(table, ())
    single, texts, numbers = types_of_features(schema.side(*side))
    roles = (getattr(spec, role, None) for role in ("item", "list", "user", "type", "split"))
    single |= {str(column) for column in roles if column is not None}
    time = getattr(spec, "time", None)  # a number or a date
    numbers |= frozenset([] if time is None else [str(time)])
    return single, texts - single, numbers - single - texts


def types_of_features(
    features: Iterable[Feature],
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The same as `column_types`, for some features of one table."""
    read = [(f.column, kind_of(f.kind).cells) for f in features if f.kind not in COMPUTED]
    texts = {column for column, cells in read if cells == TEXTS or column.endswith("*")}
    single = {column for column, cells in read if cells == ONE_TEXT} - texts
    numbers = {column for column, cells in read if cells == NUMBERS} - texts - single
    return frozenset(single), frozenset(texts), frozenset(numbers)


def check_columns(
    schema: Schema, catalog: pd.DataFrame, lists: pd.DataFrame, events: pd.DataFrame | None
) -> None:
    """Checks that the tables have every column that the schema names.

    Raises:
      DataError: A column is missing; the message has its file and the nearest name.
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
    """Every column that the schema names: its table, the column, and the key or feature naming it.

    Raises:
      SchemaError: A feature is computed from events, but the schema lacks events or lists.user.
    """
    for table in TABLES:
        spec = getattr(schema, table)
        for role in ("list", "item", "user", "type", "time", "split"):
            column = getattr(spec, role, None)
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
