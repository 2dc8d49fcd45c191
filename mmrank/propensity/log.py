"""A log of shown results as arrays, and the interface of the estimators of propensities."""

from __future__ import annotations

import abc
import dataclasses
import pathlib

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids
from mmrank.data.findings import offenders
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.base import CATEGORY
from mmrank.data.splits import hash_splits
from mmrank.data.tables import DataError, read_one
from mmrank.schema import COMPUTED, Feature, Schema, did_you_mean, load_schema

# Most categories of a column with codes of their own. Together with code 0, for rare and new
# categories, they fit into the bins of scikit-learn's boosting.
MOST_CATEGORIES = 253


@dataclasses.dataclass(frozen=True)
class ClickLog:
    """Shown results, one per row.

    Attributes:
      lists: Index of the row's list, from 0, [rows] int64.
      pairs: Index of the row's query–item pair, from 0, [rows] int64.
      positions: From 1, [rows] int64.
      clicks: 1 where the result was clicked, else 0, [rows] float64.
      features: Features of item, query and pair, [rows, F] float64, NaN where absent.
      categorical: Which features are codes of categories, [F] bool.
      randomised: Whether the row was shown in random order, [rows] bool; None if unknown.

    Example:
      One query–item pair on two pages, clicked at the first position and not at the second:

      >>> import numpy as np
      >>> log = ClickLog(
      ...     lists=np.array([0, 1]),
      ...     pairs=np.array([0, 0]),
      ...     positions=np.array([1, 2]),
      ...     clicks=np.array([1.0, 0.0]),
      ...     features=np.zeros([2, 0]),
      ...     categorical=np.zeros(0, bool),
      ... )
      >>> log.depth, log.by_position(log.clicks).tolist()
      (2, [1.0, 0.0])
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
        """The sum of values [rows] over the rows of each position, [K]."""
        return np.bincount(self.positions - 1, weights=values, minlength=self.depth)


class Estimator(abc.ABC):
    """Estimates examination propensities from a log.

    Args:
      log: The log.

    Raises:
      DataError: The log lacks what the method needs; the message names the remedy.

    Example:
      >>> import numpy as np
      >>> class ClickRate(Estimator):  # right only for results in random order
      ...     def __init__(self, log):
      ...         self._log = log
      ...
      ...     def __call__(self, weights):
      ...         log = self._log
      ...         rate = log.by_position(weights * log.clicks) / log.by_position(weights)
      ...         return rate / rate[0]
      >>> log = ClickLog(
      ...     lists=np.array([0, 0, 1, 1]),
      ...     pairs=np.arange(4),
      ...     positions=np.array([1, 2, 1, 2]),
      ...     clicks=np.array([1.0, 1.0, 1.0, 0.0]),
      ...     features=np.zeros([4, 0]),
      ...     categorical=np.zeros(0, bool),
      ... )
      >>> ClickRate(log)(np.ones(4)).tolist()
      [1.0, 0.5]
    """

    @abc.abstractmethod
    def __init__(self, log: ClickLog): ...

    @abc.abstractmethod
    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Propensities [K] relative to position 1; NaN where the log does not determine them.

        Args:
          weights: Weight of each row, [rows] float64.
        """


def read_log(
    folder: pathlib.Path,
    *,
    split: str = "train",
    positions: int | None = None,
    randomised: str | None = None,
) -> ClickLog:
    """Reads the log from the lists of a prepared dataset.

    Two rows have the same query if they agree in all query features. Without query features all
    rows have the same query. A value above 0 is a click.

    Args:
      folder: Folder of the dataset.
      split: train, valid, test or all.
      positions: Rows below this position are left out; None keeps all.
      randomised: Column of the lists that is above 0 where the order was random.

    Raises:
      SchemaError: The schema cannot be read.
      DataError: There is no position or click, a position is not a whole number from 1, a click is
        not a number from 0, a column is unknown, or no row is left.

    Example:
      >>> import pathlib
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> log = read_log(pathlib.Path("shop"), split="all", positions=10)
      >>> log.depth, len(log.clicks) == len(log.positions)
      (10, True)
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
    position = _label(schema, rows, "position")
    click = _label(schema, rows, "click")
    wrong = ~((position >= 1) & (position == np.floor(position)))
    _refuse(schema, rows, "position", wrong, "is not a position; count whole numbers from 1")
    _refuse(schema, rows, "click", ~(click >= 0), "is not a click; write 1 for clicked, else 0")

    ids = as_ids(rows[names.list])
    in_split = hash_splits(ids) if names.split is None else rows[names.split].to_numpy()
    kept = (in_split == split) | (split == "all")
    if positions is not None:
        kept &= position <= positions
    if not kept.any():
        raise DataError(f"{file}: no row is left in the split {split!r}; choose another --split")
    item = as_ids(rows[names.item])
    query = [rows[f.column] for f in schema.side("query") if f.kind not in COMPUTED]
    values, categorical = _features(folder, schema, rows, item, in_split == "train")
    return ClickLog(
        lists=pd.factorize(ids[kept])[0],
        pairs=_numbered([c[kept] for c in [item, *query]]),
        positions=position[kept].astype(np.int64),
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
    """The index of each row's combination of values among the distinct combinations, [rows]."""
    number = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes, unique = pd.factorize(column, use_na_sentinel=False)
        number = pd.factorize(number * len(unique) + codes)[0]
    return number


def _features(
    folder: pathlib.Path,
    schema: Schema,
    rows: pd.DataFrame,
    item: pd.Series,
    train: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and categories of items, queries and pairs: values [rows, F] and which are codes [F].

    The values of a category are coded by their frequency in the training rows alone, so that other
    rows have no influence. The code of a rare value, or of one in no training row, is 0.
    """
    used = [f for f in schema.side("item", "query", "pair") if kind_of(f.kind).tabular]
    catalog = read_one(folder, schema, "catalog") if used else None
    values, categorical = [], []
    for feature in used:
        column = _column(feature, schema, rows, catalog, item)
        categorical.append(kind_of(feature.kind).tabular == CATEGORY)
        values.append(_coded(column, train) if categorical[-1] else _numbers(column))
    table = np.stack(values, 1) if values else np.zeros((len(rows), 0))
    return table, np.array(categorical, dtype=bool)


def _column(
    feature: Feature,
    schema: Schema,
    rows: pd.DataFrame,
    catalog: pd.DataFrame | None,
    item: pd.Series,
) -> pd.Series:
    """The values of a feature [rows], missing where a row has none."""
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
    if feature.side != "item":
        return column
    at = pd.Index(as_ids(table[schema.catalog.item])).get_indexer(item)
    return column.iloc[at].where(at >= 0).reset_index(drop=True)


def _numbers(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _coded(column: pd.Series, train: np.ndarray) -> np.ndarray:
    words = as_ids(column)
    # Equally frequent values are in alphabetical order, so the order of the rows does not matter.
    counts = words[train].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    found = pd.Index(counts.index[:MOST_CATEGORIES]).get_indexer(words) + 1.0
    return np.where(words.isna(), np.nan, found)
