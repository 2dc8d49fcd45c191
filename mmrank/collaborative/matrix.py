"""Who met which item with what weight, up to a time: always sparse, never a dense matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmrank.data.tables import Dataset

DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Interactions:
    """All usable events of a dataset, one shopper's together and in the order of time.

    Events of items that the catalogue lacks, without a shopper, of weight 0, and exact repetitions
    (same shopper, item, type and second) are not among them.

    Attributes:
      names: Shopper ids; shopper u is names[u].
      item_count: Items of the catalogue.
      starts: Where shopper u's events begin, [shoppers + 1] int64.
      items: Item numbers [events] int32.
      times: Seconds [events] float64.
      weights: [events] float64, by type, not decayed.
      half_life: Seconds in which a weight halves; None for no decay.
    """

    names: pd.Index
    item_count: int
    starts: np.ndarray
    items: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    half_life: float | None = None

    def codes(self, shoppers: pd.Series) -> np.ndarray:
        """Shopper numbers [N] int64 of shopper ids; −1 for one without an event."""
        return self.names.get_indexer(shoppers).astype(np.int64)

    def before(self, time: float) -> sp.csr_matrix:
        """The matrix [shoppers, items] of all events strictly before a time; weights add up.

        Decayed weights are those at that time.
        """
        users = np.repeat(np.arange(len(self.names)), np.diff(self.starts))
        known = self.times < time
        values = self._decayed(self.weights[known], self.times[known], np.array(time))
        shape = (len(self.names), self.item_count)
        return sp.csr_matrix((values, (users[known], self.items[known])), shape=shape)

    def histories(self, shoppers: np.ndarray, times: np.ndarray) -> sp.csr_matrix:
        """The shoppers' own rows [N, items], of events strictly before each one's time.

        Args:
          shoppers: Shopper numbers [N]; −1 has an empty row.
          times: Seconds [N]; infinity takes all events.
        """
        spans = []
        for user, time in zip(shoppers, times, strict=True):
            first, last = (0, 0) if user < 0 else self.starts[user : user + 2]
            end = first + np.searchsorted(self.times[first:last], time, side="left")
            spans.append(np.arange(first, end))
        lengths = np.array([len(s) for s in spans], np.int64)
        at = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        now = np.repeat(np.asarray(times, np.float64), lengths)
        values = self._decayed(self.weights[at], self.times[at], now)
        rows = np.repeat(np.arange(len(spans)), lengths)
        shape = (len(spans), self.item_count)
        return sp.csr_matrix((values, (rows, self.items[at])), shape=shape)

    def _decayed(self, weights: np.ndarray, times: np.ndarray, now: np.ndarray) -> np.ndarray:
        if self.half_life is None or not len(weights):
            return weights
        # Without an end of time the latest event of all is taken for now, whoever is asked about.
        ages = np.where(np.isinf(now), self.times.max(), now) - times
        return weights * 0.5 ** (ages / self.half_life)


def read_interactions(
    dataset: Dataset, weights: Mapping[str, float], half_life_days: float | None = None
) -> Interactions:
    """The usable events of a dataset.

    Args:
      dataset: A dataset with events.
      weights: Weight of an event by its type; 1 for a type without one.
      half_life_days: See `Interactions.half_life`.

    Raises:
      ValueError: The dataset has no events.
    """
    events, names = dataset.events, dataset.schema.events
    if events is None or names is None:
        raise ValueError("the dataset has no events")
    kinds = [] if names.type is None else [names.type]
    of_type = np.ones(len(events))
    if names.type is not None:
        of_type = events[names.type].astype("string").map(weights).astype(float).fillna(1.0)
        of_type = of_type.to_numpy(np.float64)
    usable = (events["_item"] >= 0) & events[names.user].notna() & (of_type > 0)
    usable &= ~events.duplicated([names.user, "_item", "_time", *kinds])
    kept = events[usable]
    codes, index = pd.factorize(kept[names.user])
    order = np.lexsort((kept["_time"].to_numpy(), codes))
    return Interactions(
        names=pd.Index(index),
        item_count=len(dataset.catalog),
        starts=np.searchsorted(codes[order], np.arange(len(index) + 1)).astype(np.int64),
        items=kept["_item"].to_numpy(np.int32)[order],
        times=kept["_time"].to_numpy(np.float64)[order],
        weights=of_type[usable][order],
        half_life=None if half_life_days is None else half_life_days * DAY,
    )
