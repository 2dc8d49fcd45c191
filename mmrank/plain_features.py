"""The features of a ranker that trees can read, as a table of plain numbers by candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.data.batches import ListArrays
from mmrank.encoders.base import FeatureKind
from mmrank.models import present_name

if TYPE_CHECKING:
    from mmrank.data.tables import Dataset
    from mmrank.features import Features
    from mmrank.trained_run import Run


def plain_features(
    run: Run, dataset: Dataset, rows: pd.DataFrame
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of all plain features, and their values [rows, F] float32, NaN where absent.

    First come `plain_columns`, then the match features of the ranker, if it has any; these include
    the cosines of encoders that query and item share.

    Args:
      run: A ranker whose features are fitted; its weights affect only the cosines.
      dataset: Any dataset of the run's schema.
      rows: Rows of `dataset.lists`; each list's rows are adjacent.
    """
    arrays = run.arrays(dataset, rows)
    names, values = plain_names(run.fitted), plain_columns(run.fitted, arrays)
    matcher = run.model.matcher
    if matcher is None:
        return names, values
    features, there = run.matched(arrays)
    matched = np.where(there, features, np.nan).astype(np.float32)
    return (*names, *matcher.names), np.concatenate([values, matched], 1)


def plain_names(fitted: Features) -> tuple[str, ...]:
    """The names of the columns of `plain_columns`, such as `price` or `codes/3`."""
    return tuple(name for kind in _plain(fitted) for name in kind.number_names())


def plain_columns(fitted: Features, arrays: ListArrays) -> np.ndarray:
    """The plain features [rows, F] float32 that come from columns, NaN where absent.

    Numbers of item, query, user and pair are as in the data, and so are vectors, number by number,
    and collaborative scores. A category is its index in the vocabulary of training, where the most
    frequent value has index 0; all values unknown to training share the index after the last.
    Texts, photos, tags and similar kinds are not plain numbers: the ranker's match features
    represent them, where it compares query and candidate.

    Args:
      fitted: The features.
      arrays: As `fitted.arrays` returns them.
    """
    numbers = np.repeat(np.arange(len(arrays.lengths)), arrays.lengths)
    sides: dict[str, tuple[Mapping[str, np.ndarray], np.ndarray | slice]] = {
        "item": (arrays.items, arrays.candidates),
        "query": (arrays.contexts, numbers),
        "user": (arrays.contexts, numbers),
        "pair": (arrays.pairs, slice(None)),
    }
    columns = [np.zeros([len(arrays.candidates), 0], np.float32)]
    for kind in _plain(fitted):
        table, at = sides[kind.feature.side]
        values = kind.as_numbers(table[kind.name]).numpy()
        values = values.reshape(len(values), -1)
        present = table[present_name(kind.name)]
        columns.append(np.where(present[:, None], values, np.float32(np.nan))[at])
    return np.concatenate(columns, 1)


def _plain(fitted: Features) -> list[FeatureKind]:
    """The plain features, in the schema's order."""
    return [k for k in fitted.columns.values() if k.plain]
