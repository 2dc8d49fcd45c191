"""Scores of every candidate as of its list's time: nothing that came later is used.

The item side is fitted at a few times, each on the events strictly before it; a list uses the
latest fit that is not after the list. The shopper's own history is exact: every event strictly
before the list, and none other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from tqdm import tqdm

from mmrank.collaborative.base import Asked, Scorer
from mmrank.collaborative.matrix import read_interactions
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import make_scorers, score_new_items
from mmrank.data.as_of import count_before, list_times
from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset


class AsOfScores:
    """The scores of all lists of a dataset, computed once and kept.

    Args:
      dataset: A dataset with events and the shopper's column in its lists.
      options: Those of the scorers.

    Attributes:
      usable: Rows [rows] of `dataset.lists` whose shopper has an event before the list, and whose
        item any shopper has, or a scorer that does without; where not, a score is 0.
      starts: Where each list begins, then the number of rows, [lists + 1].
      user_events, item_events: How many events of the shopper, and of the item, lie strictly
        before the list, [rows] int64.
    """

    def __init__(self, dataset: Dataset, options: CollaborativeOptions):
        assert dataset.schema.lists.user is not None
        self.dataset, self.options = dataset, options
        self.interactions = read_interactions(dataset, options.weights, options.half_life_days)
        rows = dataset.lists
        starts = run_starts(rows[dataset.schema.lists.list].to_numpy())
        first = rows.iloc[starts]
        self.starts = np.r_[starts, len(rows)]
        self._list = np.repeat(np.arange(len(starts)), np.diff(self.starts))
        self._items = rows["_item"].to_numpy(np.int64)
        self._times = list_times(dataset, first)
        self._shoppers = self.interactions.codes(first[dataset.schema.lists.user])
        self._histories = self.interactions.histories(self._shoppers, self._times)
        events = self.interactions
        self.item_events = count_before(
            events.items.astype(np.int64), events.times, self._items, self._times[self._list]
        )
        self.user_events = self._own_events()[self._list]
        known = (self.item_events > 0) | score_new_items(options.scorers)
        self.usable = (self.user_events > 0) & known
        self._scores: dict[str, np.ndarray] = {}

    def _own_events(self) -> np.ndarray:
        events = self.interactions
        users = np.repeat(np.arange(len(events.names)), np.diff(events.starts))
        return count_before(users, events.times, self._shoppers, self._times)

    def places(self, rows: pd.DataFrame) -> np.ndarray:
        """Where some rows of `dataset.lists` stand in it, [N].

        Raises:
          ValueError: They are no rows of it, or have lost their index.
        """
        at = rows.index.to_numpy()
        if not np.isin(at, self.dataset.lists.index).all() or not np.array_equal(
            self._items[at], rows["_item"].to_numpy()
        ):
            raise ValueError("expected rows of dataset.lists with their index")
        return at

    def scores(self, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """The scores [rows] float64 of every row of `dataset.lists`, by scorer."""
        missing = [name for name in names if name not in self._scores]
        if missing:
            self._scores |= self._compute(make_scorers(missing, self.options))
        return {name: self._scores[name] for name in names}

    def _compute(self, scorers: Mapping[str, Scorer]) -> dict[str, np.ndarray]:
        cuts = cut_times(self._times, self.options.snapshots)
        of_list = np.searchsorted(cuts, self._times, side="right") - 1
        scores = {name: np.zeros(len(self._items)) for name in scorers}
        for scorer in scorers.values():
            scorer.know(self.dataset)
        asked_lists = np.diff(self._histories.indptr) > 0
        work = tqdm(
            total=len(cuts) * len(scorers),
            desc="collaborative scores",
            disable=None,
            leave=False,
        )
        with work:
            for number, cut in enumerate(cuts):
                matrix, number_of = known_shoppers(self.interactions.before(cut))
                lists = np.flatnonzero((of_list == number) & asked_lists)
                at = np.flatnonzero(np.isin(self._list, lists))
                asked = Asked(
                    self._histories[lists],
                    number_of[self._shoppers[lists]],
                    np.searchsorted(lists, self._list[at]),
                    self._items[at],
                )
                for name, scorer in scorers.items():
                    if matrix.nnz and len(at):
                        scorer.fit(matrix)
                        scores[name][at] = scorer.score(asked)
                    work.update()
        return scores


def known_shoppers(matrix: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """The rows of a matrix [shoppers, items] that hold an event, and by shopper which row it is.

    Nothing may depend on shoppers of whom there is no event yet, not even by their number.

    Returns:
      The matrix [known, items], and row numbers [shoppers + 1]: −1 for a shopper without an event,
      and in the last place for no shopper at all.
    """
    active = np.flatnonzero(np.diff(matrix.indptr) > 0)
    number = np.full(matrix.shape[0] + 1, -1)
    number[active] = np.arange(len(active))
    return matrix[active], number


def cut_times(times: np.ndarray, count: int) -> np.ndarray:
    """The times of the snapshots: the earliest list's and quantiles of all, ascending, distinct.

    Args:
      times: Of the lists, seconds [lists]; infinity for lists that know all events.
      count: How many at most.
    """
    ordered = np.sort(times)
    return np.unique(ordered[(np.arange(count) * len(ordered)) // count]) if len(ordered) else times
