"""Computes ranking metrics of all lists at once, from flat rows.

Lists are flat: row r is one candidate, and list i is the rows `offsets[i]:offsets[i + 1]`. Every
metric gives one value per list, so that intervals, paired tests and slices can be computed from
these values.

**Ties** are broken by a pseudo-random order fixed by a seed, never by the order of the input. A
scorer that gives every candidate the same score gets the value of a random order, not that of
the order in which a shop happened to log its results. (ROC-AUC counts a tie as half, as usual.)

**Lists without a relevant item** have no defined value. The argument `no_relevant` selects a
convention, which applies to every metric: `skip` leaves such a list out of the mean (NaN here),
`zero` counts 0 (as TF-Ranking does), `one` counts 1 (as LightGBM and XGBoost do). For NDCG, a list
without a relevant item has no positive grade. For the other metrics, it has no grade of at least
`relevant_grade`. A list whose items are all relevant has no ROC-AUC under any convention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

CONVENTIONS = ("skip", "zero", "one")
DEFAULT_METRICS = (
    "ndcg@1",
    "ndcg@5",
    "ndcg@10",
    "mrr",
    "map",
    "accuracy@1",
    "precision@1",
    "precision@5",
    "precision@10",
    "recall@5",
    "recall@10",
    "f1@5",
    "f1@10",
    "auc",
)


@dataclasses.dataclass(frozen=True)
class RankedLists:
    """Rows in ranked order: by list, then from the first position to the last.

    Attributes:
      row: Index of the row in the input, int64 [rows].
      list: Number of the row's list, int64 [rows].
      rank: Position in the ranked list, from 1, int64 [rows].
      grade: Grades, float64 [rows].
      ideal: Grades at the same positions in the best possible order, float64 [rows].
      score: Scores, float64 [rows].
      relevant: Whether the grade reaches `relevant_grade`, bool [rows].
      lists: Number of lists.
    """

    row: np.ndarray
    list: np.ndarray
    rank: np.ndarray
    grade: np.ndarray
    ideal: np.ndarray
    score: np.ndarray
    relevant: np.ndarray
    lists: int

    def total(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum of a value over the rows of each list, float64 [lists]."""
        return np.bincount(self.list, weights=values, minlength=self.lists)


def per_list(
    scores: np.ndarray,
    grades: np.ndarray,
    offsets: np.ndarray,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    relevant_grade: float = 1.0,
    no_relevant: str = "skip",
    tie_keys: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Returns the value of every metric for every list.

    Args:
      scores: Scores, higher is better, [rows].
      grades: Relevance grades, not negative, [rows].
      offsets: Where each list starts, then the number of rows, int64 [lists + 1].
      metrics: Names from `METRICS`, with `@k` appended for a cutoff: `ndcg@10`, `mrr`.
      relevant_grade: The lowest grade that counts as relevant for all metrics except NDCG.
      no_relevant: The convention for lists without a relevant item: skip, zero or one.
      tie_keys: Keys that identify candidates for tie-breaking, uint64 [rows]. With keys, the order
        of ties does not depend on the order of the rows. The default is the row's number. Two
        rows of one list with the same key are ordered as in the input.
      seed: Seed of the order of ties.

    Returns:
      Values by metric name, float64 [lists]; NaN where a list is left out of the mean.

    Raises:
      ValueError: An unknown metric or convention, wrong offsets, a non-finite score, or a
        negative or non-finite grade.

    Source: Järvelin and Kekäläinen 2002 (NDCG; gain 2^grade − 1 and discount 1 / log2(1 + rank)
      as in Burges et al. 2005); Manning, Raghavan and Schütze 2008, chapter 8 (the others).

    Example:
      A list of three candidates and one of two, of which the second has no relevant item:

      >>> from math import log2
      >>> import numpy as np
      >>> scores, grades = np.array([3.0, 2.0, 1.0, 0.5, 0.1]), np.array([1, 0, 2, 0, 0])
      >>> offsets = np.array([0, 3, 5])
      >>> values = per_list(scores, grades, offsets, metrics=["ndcg@10", "mrr"])
      >>> values["ndcg@10"].round(4).tolist(), values["mrr"].tolist()
      ([0.6885, nan], [1.0, nan])
      >>> round((1 + 3 / log2(4)) / (3 + 1 / log2(3)), 4)  # gains 1, 0, 3 and the ideal 3, 1, 0
      0.6885
      >>> values = per_list(scores, grades, offsets, metrics=["ndcg"], no_relevant="zero")
      >>> values["ndcg"].round(4).tolist()
      [0.6885, 0.0]
    """
    if no_relevant not in CONVENTIONS:
        raise ValueError(f"unknown convention {no_relevant!r}; known: {', '.join(CONVENTIONS)}")
    parsed = [_parse(name) for name in metrics]
    ranked = rank(
        scores, grades, offsets, relevant_grade=relevant_grade, tie_keys=tie_keys, seed=seed
    )
    values = {}
    for name, (metric, k) in zip(metrics, parsed, strict=True):
        graded = ranked.grade > 0 if metric is _ndcg else ranked.relevant
        empty = ranked.total(graded) == 0
        value = metric(ranked, k)
        if no_relevant == "skip":
            value[empty] = np.nan
        else:
            value[empty] = 0.0 if no_relevant == "zero" else 1.0
        values[name] = value
    return values


def rank(
    scores: np.ndarray,
    grades: np.ndarray,
    offsets: np.ndarray,
    *,
    relevant_grade: float = 1.0,
    tie_keys: np.ndarray | None = None,
    seed: int = 0,
) -> RankedLists:
    """Returns the rows in ranked order. Arguments and errors are those of `per_list`.

    Example:
      >>> import numpy as np
      >>> ranked = rank(np.array([0.1, 0.9, 0.5]), np.array([0, 1, 2]), np.array([0, 3]))
      >>> ranked.row.tolist(), ranked.grade.tolist(), ranked.ideal.tolist()
      ([1, 2, 0], [1.0, 2.0, 0.0], [2.0, 1.0, 0.0])
    """
    scores = np.asarray(scores, dtype=np.float64)
    grades = np.asarray(grades, dtype=np.float64)
    offsets = np.asarray(offsets, dtype=np.int64)
    _check(scores, grades, offsets)
    sizes = np.diff(offsets)
    number = np.repeat(np.arange(len(sizes)), sizes)
    keys = np.arange(len(scores), dtype=np.uint64) if tie_keys is None else tie_keys
    order = np.lexsort((_mix(keys, seed), -scores, number))
    return RankedLists(
        row=order,
        list=number,
        rank=np.arange(len(scores)) - np.repeat(offsets[:-1], sizes) + 1,
        grade=grades[order],
        ideal=grades[np.lexsort((-grades, number))],
        score=scores[order],
        relevant=grades[order] >= relevant_grade,
        lists=len(sizes),
    )


def _check(scores: np.ndarray, grades: np.ndarray, offsets: np.ndarray) -> None:
    if scores.ndim != 1 or scores.shape != grades.shape:
        raise ValueError(f"scores {scores.shape} and grades {grades.shape} must both be [rows]")
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(scores):
        raise ValueError(
            f"offsets must start with 0 and end with the number of rows, {len(scores)}"
        )
    if (np.diff(offsets) < 0).any():
        raise ValueError("offsets must not decrease")
    for name, wrong in (
        ("score", ~np.isfinite(scores)),
        ("grade", ~np.isfinite(grades) | (grades < 0)),
    ):
        if wrong.any():
            raise ValueError(
                f"{int(wrong.sum())} {name}(s) cannot be used, the first in row "
                f"{int(np.flatnonzero(wrong)[0])}: scores must be finite, grades at least 0"
            )


def _mix(keys: np.ndarray, seed: int) -> np.ndarray:
    """Returns the keys scrambled by a seed, uint64, one to one (the finaliser of SplitMix64)."""
    mixed = keys.astype(np.uint64) + np.uint64(
        (seed * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) % 2**64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def check_metrics(names: Sequence[str]) -> None:
    """Checks that every name is that of a metric, and that there is at least one name.

    Raises:
      ValueError: A metric is unknown or has a cutoff that it does not support, or no name is given.

    Example:
      >>> check_metrics(["ndcg@10", "mrr"])
      >>> check_metrics(["ndgc@10"])
      Traceback (most recent call last):
      ValueError: ...'ndgc@10'...
    """
    if not names:
        raise ValueError(f"no metric is given; known: {', '.join(METRICS)}")
    nothing = np.zeros(0)
    for name in names:
        metric, k = _parse(name)
        metric(rank(nothing, nothing, np.zeros(1, np.int64)), k)


def _parse(name: str) -> tuple[Metric, float]:
    base, at, cutoff = name.partition("@")
    if base not in METRICS or (at and not (cutoff.isdigit() and int(cutoff) > 0)):
        known = ", ".join(METRICS)
        raise ValueError(f"unknown metric {name!r}; known: {known}, with @k for a cutoff")
    return METRICS[base], int(cutoff) if at else np.inf


def _divide(above: np.ndarray, below: np.ndarray | float) -> np.ndarray:
    """Returns the quotient, NaN where the divisor is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(below) > 0, above / below, np.nan)


def _ndcg(ranked: RankedLists, k: float) -> np.ndarray:
    discount = np.where(ranked.rank <= k, 1.0 / np.log2(1.0 + ranked.rank), 0.0)
    gained = ranked.total((np.exp2(ranked.grade) - 1.0) * discount)
    return _divide(gained, ranked.total((np.exp2(ranked.ideal) - 1.0) * discount))


def _mrr(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns one over the rank of the first relevant item; 0 if it is past the cutoff."""
    hit = ranked.relevant & (ranked.rank <= k)
    best = np.zeros(ranked.lists)
    np.maximum.at(best, ranked.list[hit], 1.0 / ranked.rank[hit])
    return best


def _map(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns the mean over all relevant items of the precision at each item's rank.

    An item past the cutoff counts 0.
    """
    hits = _running_hits(ranked)
    found = ranked.relevant & (ranked.rank <= k)
    return _divide(
        ranked.total(np.where(found, hits / ranked.rank, 0.0)), ranked.total(ranked.relevant)
    )


def _running_hits(ranked: RankedLists) -> np.ndarray:
    """Returns the number of relevant items at or above each row's position in its list, [rows]."""
    running = np.cumsum(ranked.relevant)
    before = np.cumsum(ranked.total(ranked.relevant)) - ranked.total(ranked.relevant)
    return running - before[ranked.list]


def _precision(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns the number of relevant items among the first k, divided by k.

    The divisor is k even if the list is shorter (as in trec_eval).
    """
    hits = ranked.total(ranked.relevant & (ranked.rank <= k))
    return _divide(hits, k if np.isfinite(k) else ranked.total(np.ones_like(ranked.grade)))


def _recall(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns the share of the list's relevant items that are among the first k."""
    return _divide(
        ranked.total(ranked.relevant & (ranked.rank <= k)), ranked.total(ranked.relevant)
    )


def _f1(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns the harmonic mean of precision and recall among the first k; 0 if both are 0.

    Source: van Rijsbergen 1979, chapter 7; 2 · hits / (k + relevant).
    """
    depth = k if np.isfinite(k) else ranked.total(np.ones_like(ranked.grade))
    hits = ranked.total(ranked.relevant & (ranked.rank <= k))
    return _divide(2.0 * hits, depth + ranked.total(ranked.relevant))


def _accuracy(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns 1 if an item with the highest grade of its list is among the first k, else 0."""
    first = ranked.rank == 1  # where the ideal order has the highest grade
    highest = np.zeros(ranked.lists)
    highest[ranked.list[first]] = ranked.ideal[first]
    found = (ranked.grade == highest[ranked.list]) & (ranked.rank <= k)
    return (ranked.total(found) > 0).astype(np.float64)


def _auc(ranked: RankedLists, k: float) -> np.ndarray:
    """Returns the share of (relevant, irrelevant) pairs in the right order; a tie counts half.

    Source: Hanley and McNeil 1982; the rank formula is that of Mann and Whitney 1947.
    """
    if np.isfinite(k):
        raise ValueError("ROC-AUC has no cutoff; write auc")
    new = np.ones(len(ranked.rank), dtype=bool)
    new[1:] = (np.diff(ranked.list) != 0) | (np.diff(ranked.score) != 0)
    group = np.cumsum(new) - 1
    tied_rank = (np.bincount(group, weights=ranked.rank) / np.bincount(group))[group]
    size = ranked.total(np.ones_like(ranked.grade))
    positive = ranked.total(ranked.relevant)
    below = ranked.total(np.where(ranked.relevant, size[ranked.list] - tied_rank, 0.0))
    ordered = below - positive * (positive - 1.0) / 2.0
    return _divide(ordered, positive * (size - positive))


Metric = Callable[[RankedLists, float], np.ndarray]
METRICS: dict[str, Metric] = {
    "ndcg": _ndcg,
    "mrr": _mrr,
    "map": _map,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "accuracy": _accuracy,
    "auc": _auc,
}
