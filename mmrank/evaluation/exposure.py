"""What a scorer shows in its top positions: how much of the catalogue, how evenly, how popular."""

from __future__ import annotations

import dataclasses

import numpy as np

TOP = 10


@dataclasses.dataclass(frozen=True)
class Exposure:
    """The items in the first positions of all lists together.

    Attributes:
      coverage: Share of the catalogue that appears in the top positions of at least one list.
      gini: How unevenly the top positions are distributed over the items that are a candidate
        anywhere: 0 if all items have equally many, 1 if one item has them all; NaN with a single
        candidate item.
      popularity: Mean of log(1 + training events) in the top positions, first over the positions of
        a list, then over lists.
      popularity_bias: `popularity` divided by the same mean over all candidates. It is 1 for an
        order that is independent of popularity and above 1 for an order that prefers popular items;
        NaN if no candidate has an event.

    Source: coverage: Ge, Delgado-Battenfeld and Jannach 2010, section 2.1; gini: Shani and
      Gunawardana 2011, section 8.3.4; popularity: the average recommendation popularity of Yin et
      al. 2012, on a logarithmic scale, so that one very popular item does not dominate it.

    Example:
      >>> shown = Exposure(coverage=0.4, gini=0.7, popularity=2.0, popularity_bias=1.25)
      >>> shown.popularity_bias > 1  # popular items are preferred
      True
    """

    coverage: float
    gini: float
    popularity: float
    popularity_bias: float


def exposure(
    items: np.ndarray, rank: np.ndarray, offsets: np.ndarray, counts: np.ndarray, catalog: int
) -> Exposure:
    """Returns the exposure that an order of lists gives to items.

    Args:
      items: Item numbers by list, then by rank, int64 [rows].
      rank: Position in the ranked list, from 1, int64 [rows].
      offsets: Where each list starts, then the number of rows, int64 [lists + 1]; no list is empty.
      counts: Training events of each row's item before its list, [rows].
      catalog: Number of items in the catalogue.

    Example:
      >>> import numpy as np
      >>> items, rank = np.array([0, 1, 0, 2]), np.array([1, 2, 1, 2])
      >>> shown = exposure(items, rank, np.array([0, 2, 4]), counts=np.ones(4), catalog=4)
      >>> shown.coverage, shown.gini, shown.popularity_bias
      (0.75, 0.25, 1.0)
    """
    top = rank <= TOP
    appearances = np.bincount(items, weights=top, minlength=catalog)
    candidates = np.unique(items)
    popular = np.log1p(counts)
    shown = _mean_of_lists(popular[top], np.minimum(np.diff(offsets), TOP))
    offered = _mean_of_lists(popular, np.diff(offsets))
    return Exposure(
        coverage=float((appearances > 0).mean()),
        gini=gini(appearances[candidates]),
        popularity=shown,
        popularity_bias=shown / offered if offered > 0 else np.nan,
    )


def gini(amounts: np.ndarray) -> float:
    """Returns the Gini index of amounts [n]: 0 if all are equal, 1 if only one is above 0.

    The index is Σ (2j − n − 1) x_j / ((n − 1) Σ x_j), with x in ascending order. It is NaN for
    fewer than two amounts or a sum of 0.

    Source: Shani and Gunawardana 2011, section 8.3.4.

    Example:
      >>> import numpy as np
      >>> gini(np.array([1, 1, 1])), gini(np.array([0, 0, 5])), gini(np.array([2, 1, 1]))
      (0.0, 1.0, 0.25)
    """
    n, total = len(amounts), amounts.sum()
    if n < 2 or total == 0:
        return np.nan
    j = np.arange(1, n + 1)
    return float(((2 * j - n - 1) * np.sort(amounts)).sum() / ((n - 1) * total))


def _mean_of_lists(values: np.ndarray, sizes: np.ndarray) -> float:
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return float((np.add.reduceat(values, starts) / sizes).mean())
