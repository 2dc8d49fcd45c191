"""The popularity of an item at a given time, from strictly earlier events."""

from __future__ import annotations

import numpy as np

RECENT_SECONDS = 365 * 86_400
# The mean of few ratings is smoothed as if there were this many more ratings of the overall mean.
PRIOR_RATINGS = 5


class Popularity:
    """Counts and mean ratings of items strictly before any time.

    Args:
      items: [events] int item numbers, 0 or more.
      times: [events] int seconds since 1970, 0 or more.
      ratings: [events] float ratings.
    """

    def __init__(self, items: np.ndarray, times: np.ndarray, ratings: np.ndarray) -> None:
        self._span = int(times.max(initial=0)) + 1
        order = np.argsort(self._keys(items, times), kind="stable")
        self._item_keys = self._keys(items, times)[order]
        self._item_sums = _cumulated(ratings[order])
        order = np.argsort(times, kind="stable")
        self._times = times[order]
        self._sums = _cumulated(ratings[order])

    def count(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """[pairs] float number of ratings of each item strictly before each time."""
        return (self._before(items, times) - self._before(items, 0 * times)).astype(np.float64)

    def recent_count(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """[pairs] float number of ratings in the 365 days that end just before each time."""
        since = np.maximum(times - RECENT_SECONDS, 0)
        return (self._before(items, times) - self._before(items, since)).astype(np.float64)

    def mean_rating(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """[pairs] float mean rating strictly before each time, smoothed; NaN where there is none.

        (sum of the item's ratings + 5 m) / (their number + 5), with m the mean of all ratings of
        all items before that time.
        """
        first, last = self._before(items, 0 * times), self._before(items, times)
        count, total = last - first, self._item_sums[last] - self._item_sums[first]
        earlier = np.searchsorted(self._times, times, side="left")
        prior = self._sums[earlier] / np.maximum(earlier, 1)
        smoothed = (total + PRIOR_RATINGS * prior) / (count + PRIOR_RATINGS)
        return np.where(count > 0, smoothed, np.nan)

    def _before(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The number of events before (item, time) in the order by item, then time."""
        return np.searchsorted(self._item_keys, self._keys(items, times), side="left")

    def _keys(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """One sortable integer per (item, time); a time past the last event counts as just past."""
        return items.astype(np.int64) * (self._span + 1) + np.minimum(times, self._span)


def _cumulated(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
