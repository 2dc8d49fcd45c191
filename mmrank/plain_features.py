"""What trees can read of a ranker's features: a table of plain numbers by candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.data.batches import ListArrays
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.collaborative import Collaborative
from mmrank.encoders.vector import Vector
from mmrank.models import present_name

if TYPE_CHECKING:
    from mmrank.build import Run
    from mmrank.data.tables import Dataset
    from mmrank.features import Features


def plain_features(
    run: Run, dataset: Dataset, rows: pd.DataFrame
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of all plain features, and their values [rows, F] float32, NaN where absent.

    First `plain_columns`, then the match features of the ranker, if it has any; the cosines of
    encoders that query and item share are among these.

    Args:
      run: A ranker whose features are fitted; its weights matter only to cosines.
      dataset: Any dataset of the run's schema.
      rows: Rows of `dataset.lists`, a list's rows together.
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
    return tuple(name for kind in _plain(fitted) for name in _names(kind))


def plain_columns(fitted: Features, arrays: ListArrays) -> np.ndarray:
    """The plain features [rows, F] float32 that stand in a column, NaN where absent.

    Numbers are as in the data, of item, query, shopper and pair alike, and so are vectors number by
    number and collaborative scores. A category is its place among the words of training, the most
    frequent 0; words that training did not know share the place after the last. Texts, photos, tags
    and the like are no plain numbers: what a ranker makes of them by comparing query and candidate
    are its match features.

    Args:
      fitted: The features.
      arrays: As `fitted.arrays` gives them.
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
    """The features that are plain, in the schema's order."""
    return [k for k in fitted.columns.values() if k.plain]


def _names(kind: FeatureKind) -> Sequence[str]:
    if isinstance(kind, Collaborative):
        parts = (*kind.options.scorers, "shopper_events", "item_events")
        return [f"{kind.name}/{part}" for part in parts]
    if isinstance(kind, Vector):
        return [f"{kind.name}/{place + 1}" for place in range(kind.length)]
    return [kind.name]
