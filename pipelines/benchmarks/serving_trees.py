"""LightGBM over the pair features of a dataset, for comparison with a ranker's latency."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mmrank.data.checks import as_numbers
from mmrank.data.runs import run_starts
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.baselines import baseline_scores
from mmrank.features import row_labels
from mmrank.serving.card import Card

TREE_COUNT, MOST_ROWS = 500, 20_000
MOST_GRADES = 31  # for which LightGBM has gains
BASELINES = ("bm25", "popularity")


def pair_features(card: Card, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """The features of candidates for trees, [rows, F] float64, NaN where missing.

    They are the numbers of items and pairs that the ranker reads, the BM25 of the query in the
    item's texts if there are texts, and the number of earlier events of the item.

    Args:
      card: Card of the ranker's export.
      dataset: The dataset.
      rows: Rows of the dataset's lists.
    """
    source = {f.name: f.column for f in dataset.schema.features}
    columns = []
    for side, table in (
        ("item", dataset.catalog.iloc[rows["_item"].to_numpy()]),
        ("pair", rows),
    ):
        for name in card.names(side):
            if card.inputs.columns[name].kind == "number" and source.get(name) in table:
                columns.append(as_numbers(table[source[name]]).astype(np.float64))
    columns += baseline_scores(dataset, rows, BASELINES).values()
    return np.stack(columns, axis=1)


def trees(card: Card, dataset: Dataset, seed: int = 0) -> Callable[[int], Callable[[int], None]]:
    """A function that makes a scorer for a given number of candidates: 500 trees, one thread.

    The trees are LambdaMART on the graded training lists, at most 20,000 rows of whole lists. The
    candidates are rows of these, drawn with replacement if there are too few.

    Args:
      card, dataset: As for `pair_features`.
      seed: Seed of the drawn lists and candidates.

    Raises:
      DataError: There are no graded training lists, or the trees stopped growing early.
    """
    import lightgbm

    generator = np.random.default_rng(seed)
    rows, groups = _lists(dataset, generator)
    features = pair_features(card, dataset, rows)
    settings = {"n_estimators": TREE_COUNT, "n_jobs": 1, "verbose": -1, "seed": seed}
    model = lightgbm.LGBMRanker(**settings)
    booster = model.fit(features, _grades(dataset, rows), group=groups).booster_
    if booster.num_trees() != TREE_COUNT:
        raise DataError(
            f"{dataset.folder}: LightGBM grew only {booster.num_trees()} of {TREE_COUNT} trees "
            "on the training lists; give a dataset with more lists"
        )

    def of(count: int) -> Callable[[int], None]:
        at = generator.choice(len(features), count, replace=count > len(features))
        asked = np.ascontiguousarray(features[at])

        def call(number: int) -> None:
            booster.predict(asked, num_threads=1)

        return call

    return of


def _lists(dataset: Dataset, generator: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of some training lists, each list's rows adjacent, and the length of each list."""
    rows = dataset.rows("train")
    if rows.empty:
        raise DataError(f"{dataset.folder}: no training lists for LightGBM")
    starts = run_starts(rows[dataset.schema.lists.list].to_numpy())
    lengths = np.diff(np.r_[starts, len(rows)])
    drawn = generator.permutation(len(starts))
    kept = np.sort(drawn[: max(1, int((np.cumsum(lengths[drawn]) <= MOST_ROWS).sum()))])
    at = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in kept])
    return rows.iloc[at], lengths[kept]


def _grades(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """The grades as integers from 0 in the same order, [rows], or else those of the first label."""
    labels = row_labels(dataset.schema, rows)
    if not labels:
        raise DataError(f"{dataset.folder}: no label for LightGBM")
    values = np.nan_to_num(labels.get("grade", next(iter(labels.values()))))
    return np.minimum(np.unique(values, return_inverse=True)[1], MOST_GRADES - 1)
