"""The values of a dataset's lists as requests would hold them, and their distribution."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset, load_dataset
from mmrank.encoders import FeatureKind
from mmrank.encoders.base import texts
from mmrank.encoders.collaborative import Collaborative
from mmrank.features import Features
from mmrank.schema import SCHEMA_FILE
from mmrank.serving.drift.bins import Bins, fit_bins
from mmrank.serving.drift.reference import FILE, Reference
from mmrank.trained_run import Run

# Enough for shares of a percent; more rows would only take more time.
MAX_ROWS = 50_000
logger = logging.getLogger(__name__)


def save_reference(run: Run, dataset: Dataset, folder: pathlib.Path) -> None:
    """Writes the distribution of a run's training lists, or warns if they are unavailable.

    Args:
      run: A trained ranker.
      dataset: A loaded dataset, which may differ from the one that the run was trained on.
      folder: The folder for the file.
    """
    trained: Dataset | None = dataset
    if dataset.folder.resolve() != run.data.resolve():
        trained = load_dataset(run.data) if (run.data / SCHEMA_FILE).is_file() else None
    reference = None if trained is None else training_reference(run.fitted, trained)
    if reference is None:
        logger.warning(
            "%s: no training lists, so a server cannot measure drift from them", run.data
        )
    else:
        reference.save(folder / FILE)


def training_reference(features: Features, dataset: Dataset) -> Reference | None:
    """Returns the distribution of a dataset's training lists; None if it has no such lists.

    Args:
      features: The fitted features. Collaborative scores are not watched.
      dataset: The dataset that the features were fitted on.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> from mmrank.features import make_features
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> read = dataset.schema.side("item", "query", "user", "pair")
      >>> others = [feature.name for feature in read if feature.kind != "number"]
      >>> features = make_features(dataset.schema, encoders={}, drop=others)
      >>> features.fit(dataset)
      >>> [bins.measure for bins in training_reference(features, dataset).of("price")]
      ['value']
    """
    bins: list[Bins] = []
    for name, values, present in samples(features, dataset, "train"):
        feature = features.schema.feature(name)
        column = features.columns.get(name)
        separator = None if column is None else column.separator
        personal = feature.side == "user"
        bins += fit_bins(name, feature.kind, values, present, separator, personal)
    return Reference(bins) if bins else None


def samples(
    features: Features, dataset: Dataset, split: str
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields each feature's name, raw values [N] and flags [N] in the lists of a split.

    The values are those that requests would hold. Features of query and user have one value a list,
    features of items and pairs one a candidate; of many rows every n-th is taken. A history's value
    is its number of events.
    """
    rows = dataset.rows(split)
    if not len(rows):
        return
    starts = run_starts(rows[dataset.schema.lists.list].to_numpy())
    first, candidates = rows.iloc[_thin(starts)], rows.iloc[_thin(np.arange(len(rows)))]
    for kind in features.columns.values():
        if isinstance(kind, Collaborative):
            continue
        if kind.feature.side == "item":
            values, present = _read(kind, dataset.catalog[kind.feature.column])
            at = candidates["_item"].to_numpy()
            yield kind.name, values[at], present[at]
        else:
            table = candidates if kind.feature.side == "pair" else first
            yield kind.name, *_read(kind, table[kind.feature.column])
    if features.history is not None:
        history, users = features.history_arrays(dataset, first)
        assert history is not None
        whole = dataclasses.replace(history, length=len(history.items))
        times = first["_time"].to_numpy(np.float64) if "_time" in first else [np.nan] * len(first)
        past = [whole.before(int(u), float(t)) for u, t in zip(users, times, strict=True)]
        counts = np.array([events.stop - events.start for events in past], np.float32)
        yield features.history.name, counts, counts > 0


def _read(kind: FeatureKind, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Returns raw values and flags; for files only names, since only their presence is counted."""
    if kind.is_media:
        names = texts(column)
        return names, names != ""
    return kind.read(column, None)


def _thin(rows: np.ndarray) -> np.ndarray:
    return rows[:: -(-len(rows) // MAX_ROWS)]
