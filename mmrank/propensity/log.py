"""A log of shown results as arrays, and what an estimator of propensities is."""

from __future__ import annotations

import abc
import dataclasses
import pathlib

import numpy as np
import pandas as pd

from mmrank.data.tables import (
    DataError,
    as_ids,
    hash_splits,
    offenders,
    read_one,
)
from mmrank.schema import COMPUTED, Feature, Schema, did_you_mean, load_schema

MOST_CATEGORIES = 254  # of a column, what the bins of scikit-learn's boosting hold


@dataclasses.dataclass(frozen=True)
class ClickLog:
    """Shown results, a row each.

    Attributes:
      lists: Number of the row's list, from 0, [rows] int64.
      pairs: Number of the row's query–item pair, from 0, [rows] int64.
      positions: From 1, [rows] int64.
      clicks: 1 where it was clicked, else 0, [rows] float64.
      features: What is known of query and item, [rows, F] float64, NaN where absent.
      categorical: Which features are codes of categories, [F] bool.
      randomised: Whether the row's list was shown in random order, [rows] bool; None if nothing
        says so.
    """

    lists: np.ndarray
    pairs: np.ndarray
    positions: np.ndarray
    clicks: np.ndarray
    features: np.ndarray
    categorical: np.ndarray
    randomised: np.ndarray | None = None

    @property
    def depth(self) -> int:
        """K, the deepest position."""
        return int(self.positions.max(initial=0))

    def by_position(self, values: np.ndarray) -> np.ndarray:
        """The sum of a value over the rows of each position, [K]."""
        return np.bincount(self.positions - 1, weights=values, minlength=self.depth)


class Estimator(abc.ABC):
    """What estimates examination propensities from a log.

    Args:
      log: The log.

    Raises:
      DataError: The log lacks what the method needs; the message tells the remedy.
    """

    @abc.abstractmethod
    def __init__(self, log: ClickLog): ...

    @abc.abstractmethod
    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Propensities [K] relative to position 1; NaN where the log does not tell.

        Args:
          weights: How often each row counts, [rows] float64.
        """


def read_log(
    folder: pathlib.Path,
    *,
    split: str = "train",
    positions: int | None = None,
    randomised: str | None = None,
) -> ClickLog:
    """The log in the lists of a prepared dataset.

    Two rows have the same query if they agree in all query features; without any there is one
    query. A click is a value above 0.

    Args:
      folder: Of the dataset.
      split: train, valid, test or all.
      positions: Rows below this position are left out; None keeps all.
      randomised: Column of the lists that is above 0 where the order was drawn at random.

    Raises:
      SchemaError: The schema cannot be read.
      DataError: No position or click, a position that is no whole number from 1, a click that is
        no number from 0, an unknown column, or no row is left.
    """
    schema = load_schema(folder)
    rows = read_one(folder, schema, "lists")
    assert rows is not None
    file, names = schema.lists.file, schema.lists
    asked = [f for f in schema.side("query", "pair") if f.kind not in COMPUTED]
    columns = [names.list, names.item, *(f.column for f in asked)]
    for column in [*columns, *filter(None, [names.split, randomised])]:
        if column not in rows:
            raise DataError(f"{file}: no column {column!r}{did_you_mean(column, rows.columns)}")
    place = _label(schema, rows, "position")
    click = _label(schema, rows, "click")
    wrong = ~((place >= 1) & (place == np.floor(place)))
    _refuse(schema, rows, "position", wrong, "is not a position; count whole numbers from 1")
    _refuse(schema, rows, "click", ~(click >= 0), "is not a click; put 1 for clicked, else 0")

    ids = as_ids(rows[names.list])
    in_split = hash_splits(ids) if names.split is None else rows[names.split].to_numpy()
    kept = (in_split == split) | (split == "all")
    if positions is not None:
        kept &= place <= positions
    if not kept.any():
        raise DataError(f"{file}: no row is left in the split {split!r}; choose another --split")
    item = as_ids(rows[names.item])
    query = [rows[f.column] for f in schema.side("query") if f.kind != "history"]
    values, categorical = _features(folder, schema, rows, item)
    return ClickLog(
        lists=pd.factorize(ids[kept])[0],
        pairs=_numbered([c[kept] for c in [item, *query]]),
        positions=place[kept].astype(np.int64),
        clicks=(click[kept] > 0).astype(np.float64),
        features=values[kept],
        categorical=categorical,
        randomised=(
            None
            if randomised is None
            else pd.to_numeric(rows[randomised], errors="coerce").to_numpy(np.float64)[kept] > 0
        ),
    )


def _label(schema: Schema, rows: pd.DataFrame, name: str) -> np.ndarray:
    feature = schema.label(name)
    if feature is None:
        raise DataError(
            f"schema.yaml: no label {name!r}; add `{{name: {name}, kind: number, side: label}}` "
            f"and the column to {schema.lists.file}"
        )
    if feature.column not in rows:
        raise DataError(
            f"{schema.lists.file}: no column {feature.column!r}"
            f"{did_you_mean(feature.column, rows.columns)}"
        )
    numbers = pd.to_numeric(rows[feature.column], errors="coerce")
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _refuse(schema: Schema, rows: pd.DataFrame, name: str, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        column = schema.feature(name).column
        raise DataError(offenders(schema.lists.file, column, wrong, rows[column], what))


def _numbered(columns: list[pd.Series]) -> np.ndarray:
    """One number for each distinct combination of values, [rows]."""
    number = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes, unique = pd.factorize(column, use_na_sentinel=False)
        number = pd.factorize(number * len(unique) + codes)[0]
    return number


def _features(
    folder: pathlib.Path, schema: Schema, rows: pd.DataFrame, item: pd.Series
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and categories of items, queries and pairs: [rows, F] and which are categories."""
    used = [f for f in schema.side("item", "query", "pair") if f.kind in ("number", "category")]
    catalog = read_one(folder, schema, "catalog") if used else None
    values, categorical = [], []
    for feature in used:
        values.append(_column(feature, schema, rows, catalog, item))
        categorical.append(feature.kind == "category")
    table = np.stack(values, 1) if values else np.zeros((len(rows), 0))
    return table, np.array(categorical, dtype=bool)


def _column(
    feature: Feature,
    schema: Schema,
    rows: pd.DataFrame,
    catalog: pd.DataFrame | None,
    item: pd.Series,
) -> np.ndarray:
    table = rows
    if feature.side == "item":
        assert catalog is not None
        table = catalog
    if feature.column not in table:
        file = schema.catalog.file if feature.side == "item" else schema.lists.file
        raise DataError(
            f"{file}: no column {feature.column!r}{did_you_mean(feature.column, table.columns)}"
        )
    column = table[feature.column]
    if feature.kind == "number":
        found = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    else:
        words = as_ids(column)
        frequent = words.value_counts().index[:MOST_CATEGORIES]
        found = pd.Index(frequent).get_indexer(words).astype(np.float64)
        found[found < 0] = np.nan
    if feature.side != "item":
        return found
    ids = pd.Index(as_ids(table[schema.catalog.item]))
    at = ids.get_indexer(item)
    return np.where(at >= 0, found[at], np.nan)
