"""Scores of every candidate as of its list's time: later events are never used.

The item side is fitted at a few times, each time on the events strictly before it; a list uses the
latest fit that is not after the list. Training and validation lists determine the times of their
fits; test lists determine those of their own, so that test lists do not influence when the others
are fitted. The user's own history is exact: all events strictly before the list, and no others.
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
      dataset: A dataset with events and a user column in its lists.
      options: Options of the scorers.

    Attributes:
      usable: Rows [rows] of `dataset.lists` whose user has an event before the list, and whose item
        has one by any user, unless a scorer does not need any; elsewhere a score is 0.
      starts: Index of each list's first row, then the number of rows, [lists + 1].
      user_events, item_events: How many events of the user, and of the item, are strictly before
        the list, [rows] int64.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> as_of = AsOfScores(dataset, CollaborativeOptions(snapshots=2))
      >>> scores = as_of.scores(["itemknn"])["itemknn"]
      >>> len(scores) == len(dataset.lists), bool((scores[~as_of.usable] == 0).all())
      (True, True)
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
        self._tests = (first["_split"] == "test").to_numpy()
        self._users = self.interactions.codes(first[dataset.schema.lists.user])
        self._histories = self.interactions.histories(self._users, self._times)
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
        return count_before(users, events.times, self._users, self._times)

    def indices(self, rows: pd.DataFrame) -> np.ndarray:
        """The indices of some rows of `dataset.lists` in it, [N].

        Raises:
          ValueError: They are not rows of it, or have lost their index.
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
        cuts = self._cuts()
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
            for cut, using in cuts.items():
                matrix, number_of = known_users(self.interactions.before(cut))
                lists = using[asked_lists[using]]
                at = np.flatnonzero(np.isin(self._list, lists))
                asked = Asked(
                    self._histories[lists],
                    number_of[self._users[lists]],
                    np.searchsorted(lists, self._list[at]),
                    self._items[at],
                )
                for name, scorer in scorers.items():
                    if matrix.nnz and len(at):
                        scorer.fit(matrix)
                        scores[name][at] = scorer.score(asked)
                    work.update()
        return scores

    def _cuts(self) -> dict[float, np.ndarray]:
        """The lists that use each snapshot, in ascending order, by the snapshot's time."""
        cuts: dict[float, np.ndarray] = {}
        learned = int((~self._tests).sum())
        for group in (~self._tests, self._tests):
            lists, count = np.flatnonzero(group), self.options.snapshots
            if group is self._tests and learned:  # as many per list as the other group has
                count = min(count, -(-count * len(lists) // learned))
            times = cut_times(self._times[lists], count)
            number = np.searchsorted(times, self._times[lists], side="right") - 1
            for index, cut in enumerate(times):
                using = lists[number == index]
                cuts[cut] = np.union1d(cuts[cut], using) if cut in cuts else using
        return cuts


def known_users(matrix: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """The rows of a matrix [users, items] that hold an event, and each user's row number.

    Users without an event so far must not influence anything, not even by their number.

    Returns:
      The matrix [known, items], and row numbers [users + 1]: −1 for a user without an event, and
      as the last entry, which a user number of −1 selects.
    """
    active = np.flatnonzero(np.diff(matrix.indptr) > 0)
    number = np.full(matrix.shape[0] + 1, -1)
    number[active] = np.arange(len(active))
    return matrix[active], number


def cut_times(times: np.ndarray, count: int) -> np.ndarray:
    """The times of snapshots for some lists: the earliest time and quantiles, ascending, distinct.

    Args:
      times: Times of the lists, seconds [lists]; infinity for lists that know all events.
      count: Maximum number of times.

    Example:
      >>> import numpy as np
      >>> cut_times(np.array([4.0, 1.0, 3.0, 2.0]), count=2).tolist()
      [1.0, 3.0]
    """
    ordered = np.sort(times)
    return np.unique(ordered[(np.arange(count) * len(ordered)) // count]) if len(ordered) else times
