"""Which user met which item with what weight, up to a time; the matrix is always sparse."""

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
    """All usable events of a dataset, grouped by user and in the order of time.

    Excluded are events of items that the catalogue lacks, events without a user, events of
    weight 0, and exact repetitions (same user, item, type and second).

    Attributes:
      names: User ids; user u is names[u].
      item_count: Items of the catalogue.
      starts: Index of user u's first event, then the number of events, [users + 1] int64.
      items: Item numbers [events] int32.
      times: Seconds [events] float64.
      weights: [events] float64, by type, not decayed.
      half_life: Seconds in which a weight halves; None for no decay.

    Example:
      >>> import numpy as np
      >>> import pandas as pd
      >>> met = Interactions(
      ...     names=pd.Index(["u1"]),
      ...     item_count=3,
      ...     starts=np.array([0, 2]),
      ...     items=np.array([0, 2]),
      ...     times=np.array([10.0, 20.0]),
      ...     weights=np.ones(2),
      ... )
      >>> met.before(20.0).toarray().tolist(), met.before(21.0).toarray().tolist()
      ([[1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0]])
    """

    names: pd.Index
    item_count: int
    starts: np.ndarray
    items: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    half_life: float | None = None

    def codes(self, users: pd.Series) -> np.ndarray:
        """User numbers [N] int64 of user ids; −1 for a user without an event."""
        return self.names.get_indexer(users).astype(np.int64)

    def before(self, time: float) -> sp.csr_matrix:
        """The matrix [users, items] of all events strictly before a time; weights add up.

        Weights are decayed to that time.
        """
        users = np.repeat(np.arange(len(self.names)), np.diff(self.starts))
        known = self.times < time
        values = self._decayed(self.weights[known], self.times[known], np.array(time))
        shape = (len(self.names), self.item_count)
        return sp.csr_matrix((values, (users[known], self.items[known])), shape=shape)

    def histories(self, users: np.ndarray, times: np.ndarray) -> sp.csr_matrix:
        """The users' own rows [N, items], of events strictly before each one's time.

        Args:
          users: User numbers [N]; −1 has an empty row.
          times: Seconds [N]; infinity takes all events.
        """
        spans = []
        for user, time in zip(users, times, strict=True):
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
        # If the time is infinite, ages are measured from the latest event of all users.
        ages = np.where(np.isinf(now), self.times.max(), now) - times
        return weights * 0.5 ** (ages / self.half_life)


def read_interactions(
    dataset: Dataset, weights: Mapping[str, float], half_life_days: float | None = None
) -> Interactions:
    """The usable events of a dataset.

    Args:
      dataset: A dataset with events.
      weights: Weight of an event by its type; 1 for a type that is not listed.
      half_life_days: See `Interactions.half_life`.

    Raises:
      ValueError: The dataset has no events.

    Example:
      >>> import numpy as np
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> met = read_interactions(load_dataset("shop"), weights={"purchase": 5.0})
      >>> met.before(np.inf).shape == (len(met.names), 60)
      True
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
