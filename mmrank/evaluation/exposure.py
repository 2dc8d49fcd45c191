"""What a scorer shows in its top places: how much of the catalogue, how evenly, how popular."""

from __future__ import annotations

import dataclasses

import numpy as np

TOP = 10


@dataclasses.dataclass(frozen=True)
class Exposure:
    """What stands in the first places of all lists together.

    Attributes:
      coverage: Share of the catalogue that stands in the top of at least one list.
      gini: How unevenly the top places fall on the items that are a candidate anywhere: 0 where all
        have as many, 1 where one has them all; NaN with a single candidate item.
      popularity: Mean of log(1 + training events) in the top places: over those of a list, then
        over lists.
      popularity_bias: That over the same mean of all candidates: 1 for an order that does not
        know popularity, above 1 for one that prefers popular items; NaN where no candidate has
        an event.

    Source: coverage: Ge, Delgado-Battenfeld and Jannach 2010, section 2.1; gini: Shani and
      Gunawardana 2011, section 8.3.4; popularity: the average recommendation popularity of Yin et
      al. 2012, on a logarithmic scale, which one very popular item does not rule.
    """

    coverage: float
    gini: float
    popularity: float
    popularity_bias: float


def exposure(
    items: np.ndarray, rank: np.ndarray, offsets: np.ndarray, counts: np.ndarray, catalog: int
) -> Exposure:
    """The exposure that an order of lists gives to items.

    Args:
      items: Item numbers by list, then by rank, int64 [rows].
      rank: Place in the list from 1, int64 [rows].
      offsets: Where each list starts, then the number of rows, int64 [lists + 1]; no list is empty.
      counts: Training events of each row's item before its list, [rows].
      catalog: Number of items in the catalogue.
    """
    top = rank <= TOP
    places = np.bincount(items, weights=top, minlength=catalog)
    candidates = np.unique(items)
    popular = np.log1p(counts)
    shown = _mean_of_lists(popular[top], np.minimum(np.diff(offsets), TOP))
    offered = _mean_of_lists(popular, np.diff(offsets))
    return Exposure(
        coverage=float((places > 0).mean()),
        gini=gini(places[candidates]),
        popularity=shown,
        popularity_bias=shown / offered if offered > 0 else np.nan,
    )


def gini(amounts: np.ndarray) -> float:
    """The Gini index of amounts [n], 0 for equal ones and 1 for a single holder of all.

    Σ (2j − n − 1) x_j / ((n − 1) Σ x_j), x in ascending order. NaN for fewer than two amounts or
    a sum of 0.

    Source: Shani and Gunawardana 2011, section 8.3.4.
    """
    n, total = len(amounts), amounts.sum()
    if n < 2 or total == 0:
        return np.nan
    j = np.arange(1, n + 1)
    return float(((2 * j - n - 1) * np.sort(amounts)).sum() / ((n - 1) * total))


def _mean_of_lists(values: np.ndarray, sizes: np.ndarray) -> float:
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return float((np.add.reduceat(values, starts) / sizes).mean())
