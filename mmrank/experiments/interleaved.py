"""Interleaved pages: which of two versions users preferred."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np
from scipy import stats

from mmrank.data.findings import DataError
from mmrank.data.page_log import LoggedPage
from mmrank.evaluation.significance import bootstrap_intervals, holm
from mmrank.reranking.interleaving import INTERLEAVINGS, Interleaved

__all__ = ["EQUAL", "Preference", "credit_of", "preferences"]

EQUAL = 1e-9  # a credit that is no further from 0 is a tie, up to rounding


@dataclasses.dataclass(frozen=True)
class Preference:
    """Two versions compared by interleaved pages.

    Attributes:
      versions: The two versions, the older one first.
      kind: How the pages were interleaved.
      units: Number of units, such as users.
      wins, losses, ties: Units that favoured the newer version, the older one, and neither.
      mean, low, high: Mean credit of a unit, above 0 if it favoured the newer version, with its
        bootstrap interval. A unit's credit is the mean of its pages', from −1 to 1.
      p_value: Two-sided sign test of wins against losses.
      p_holm: The same, corrected for all comparisons of the log.
    """

    versions: tuple[int, int]
    kind: str
    units: int
    wins: int
    losses: int
    ties: int
    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float


def credit_of(page: LoggedPage) -> float:
    """Returns which version the clicks on an interleaved page favour, above 0 for the newer one.

    Args:
      page: A page whose `shown.interleaved` is not None.

    Raises:
      ConfigError: The kind of interleaving is unknown.
    """
    order, how = page.shown.order, page.shown.interleaved
    assert how is not None
    method = INTERLEAVINGS.make(how.kind, where="interleaved.kind")
    shown = Interleaved(order, how.teams)
    credit = float(method.credit(how.orders[0], how.orders[1], shown, page.clicks[order]))
    return credit if how.versions[0] > how.versions[1] else -credit


def preferences(
    pages: Iterable[LoggedPage], *, unit: str = "user", alpha: float = 0.05, seed: int = 0
) -> list[Preference]:
    """Returns a comparison for each pair of versions that shared pages.

    Args:
      pages: The pages of a log; those that are not interleaved do not count.
      unit: `user`, or `page` if users are not known. Pages of a user are not independent.
      alpha: 1 less the coverage of the intervals.
      seed: Seed of the bootstrap.

    Raises:
      DataError: No page is interleaved, a page has no user where users are the unit, or there are
        fewer than two units.
    """
    found: dict[tuple[tuple[int, int], str], dict[str, list[float]]]
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for page in pages:
        how = page.shown.interleaved
        if how is None:
            continue
        name = page.shown.user if unit == "user" else page.shown.page
        if name is None:
            raise DataError(
                f"page {page.shown.page!r} has no user: make pages the unit with --unit page"
            )
        older, newer = sorted(how.versions)
        found[(older, newer), how.kind][name].append(credit_of(page))
    if not found:
        raise DataError("no page of the log is interleaved; compare groups with `analyse`")
    credits = {
        key: np.array([np.mean(pages) for pages in units.values()]) for key, units in found.items()
    }
    for (versions, _), values in credits.items():
        if len(values) < 2:
            raise DataError(f"versions {versions[0]} and {versions[1]}: fewer than two units")
    counts = {key: (int((v > EQUAL).sum()), int((v < -EQUAL).sum())) for key, v in credits.items()}
    p_values = np.array(
        [stats.binomtest(w, w + lost).pvalue if w + lost else 1.0 for w, lost in counts.values()]
    )
    made = []
    for row, ((versions, kind), values) in enumerate(credits.items()):
        [interval] = bootstrap_intervals(values[:, None], level=1 - alpha, seed=seed)
        wins, losses = counts[versions, kind]
        made.append(
            Preference(
                versions,
                kind,
                len(values),
                wins,
                losses,
                len(values) - wins - losses,
                interval.mean,
                interval.low,
                interval.high,
                float(p_values[row]),
                float(holm(p_values)[row]),
            )
        )
    return made
