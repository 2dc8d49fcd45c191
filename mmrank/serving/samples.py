"""Requests as clients will send them, put together from a dataset, for warming servers up.

The requests are part of the export, so they must not identify a user: candidates are drawn from
the catalogue, the features of the query and of the user come from different lists, the user's id
is made up, and the history consists of random items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from mmrank.data.media import open_media
from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset
from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.models import present_name

Arrays = dict[str, np.ndarray]
# Only so many candidates of a sample have photos and clips, since these make the file large.
SHOWN = 8
NO_USER = "warm-up"  # in place of a user's id
_OLDEST = 30.0  # days


@dataclasses.dataclass(frozen=True)
class Sample:
    """One request of one list: features and their flags, by input name.

    Attributes:
      contexts: Features of query and user [1].
      history: HISTORY_items, HISTORY_types and HISTORY_ages [1, H]; empty without a history.
      items: Features of side item [1, L].
      pairs: Features of side pair [1, L].
      ids: The candidates [1, L].
    """

    contexts: Arrays
    history: Arrays
    items: Arrays
    pairs: Arrays
    ids: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """The number of candidates of the list, [1] int32."""
        return np.array([self.ids.shape[1]], np.int32)


class Samples:
    """Sample requests over a dataset.

    Args:
      features: Fitted features.
      dataset: A catalogue with items, and lists. A feature whose column the lists lack is absent.
      seed: Seed of the random choices.
    """

    def __init__(self, features: Features, dataset: Dataset, seed: int = 0):
        self._features, self._dataset = features, dataset
        self._media = open_media(dataset) if dataset.schema.media is not None else None
        self._random = np.random.default_rng(seed)
        # Either schema may name the column of user ids.
        self._user_columns = {s.lists.user for s in (features.schema, dataset.schema)} - {None}
        rows = dataset.rows("train")
        rows = dataset.lists if rows.empty else rows
        self._lists = rows.iloc[run_starts(rows[dataset.schema.lists.list].to_numpy())]

    def of(self, length: int) -> Sample:
        """Returns a request with `length` candidates, some repeated if the catalogue has fewer."""
        count = len(self._dataset.catalog)
        chosen = self._random.choice(count, length, replace=length > count)
        items = self._dataset.catalog.iloc[chosen]
        lists = self._some(length)
        return Sample(
            contexts={
                name: value
                for kind in self._features.of_side("query", "user")
                for name, value in self._read([kind], self._some(1)).items()
            },
            history=self._history(),
            items={n: v[None] for n, v in self._read(self._of("item"), items).items()},
            pairs={n: v[None] for n, v in self._read(self._of("pair"), lists).items()},
            ids=self._dataset.item_ids[chosen][None],
        )

    def _of(self, side: str) -> list[FeatureKind]:
        return self._features.of_side(side)

    def _some(self, count: int) -> pd.DataFrame:
        """Returns `count` random rows of the lists, or empty rows if there are no lists."""
        if self._lists.empty:
            return pd.DataFrame(index=range(count))
        return self._lists.iloc[self._random.integers(len(self._lists), size=count)]

    def _read(self, kinds: Iterable[FeatureKind], table: pd.DataFrame) -> Arrays:
        """Returns raw values and flags [rows] of a table, absent for columns that it lacks."""
        arrays: Arrays = {}
        for kind in kinds:
            dtype = kind.raw_dtype.as_numpy_dtype
            values = np.full(len(table), "" if dtype is object else 0, dtype)
            present = np.zeros(len(table), bool)
            if kind.feature.column in table:
                shown = table[kind.feature.column]
                if kind.is_media:
                    shown = shown.iloc[:SHOWN]
                read, here = kind.read(shown, self._media)
                values[: len(shown)], present[: len(shown)] = read, here
            if kind.feature.side != "item" and kind.feature.column in self._user_columns:
                values = np.full(len(table), NO_USER if dtype is object else 0, dtype)
            arrays |= {kind.name: values, present_name(kind.name): present}
        return arrays

    def _history(self) -> Arrays:
        """Returns as many random events as the ranker reads, oldest first."""
        history = self._features.history
        if history is None:
            return {}
        length = history.options.length
        types = np.array(history.types or ("",), object)
        ages = np.sort(self._random.uniform(0, _OLDEST, length)).astype(np.float32)[::-1]
        return {
            f"{history.name}_items": self._random.choice(self._dataset.item_ids, length)[None],
            f"{history.name}_types": self._random.choice(types, length)[None],
            f"{history.name}_ages": ages[None],
        }
