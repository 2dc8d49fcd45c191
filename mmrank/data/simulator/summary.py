"""Figures of a simulated shop: sizes, photos, grades, clicks, and the quality of the ranking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from mmrank.data.runs import run_starts
from mmrank.data.simulator.grades import MAX_GRADE


@dataclasses.dataclass(frozen=True)
class Summary:
    """The figures of one simulated shop.

    Attributes:
      items, lists, rows, events: Sizes of the tables.
      queries: Distinct query texts among the lists.
      photos_missing, photos_broken: Shares of the items.
      grades: Share of the rows per grade, 0 to 3.
      click_through: Clicks per row shown at each position, from position 1.
      ndcg_random, ndcg_logged: Mean NDCG@10 of a random and of the logged order, with gain
        2^grade − 1, over the lists that have a relevant item.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> print(simulate("shop", items=60, queries=20, users=5))
      items                    60
      lists                    20 of ... distinct queries
      ...
    """

    items: int
    lists: int
    rows: int
    events: int
    queries: int
    photos_missing: float
    photos_broken: float
    grades: tuple[float, ...]
    click_through: tuple[float, ...]
    ndcg_random: float
    ndcg_logged: float

    def __str__(self) -> str:
        grades = ", ".join(f"{g}: {share:.1%}" for g, share in enumerate(self.grades))
        shown = [k for k in (1, 2, 3, 5, 10, 20) if k <= len(self.click_through)]
        clicks = ", ".join(f"{k}: {self.click_through[k - 1]:.3f}" for k in shown)
        return "\n".join(
            [
                f"items                    {self.items:,}",
                f"lists                    {self.lists:,} of {self.queries:,} distinct queries",
                f"candidate rows           {self.rows:,}",
                f"events                   {self.events:,}",
                f"photos missing, broken   {self.photos_missing:.1%}, {self.photos_broken:.1%}",
                f"rows by grade            {grades}",
                f"clicks by position       {clicks}",
                f"NDCG@10 random, logged   {self.ndcg_random:.3f}, {self.ndcg_logged:.3f}",
            ]
        )


def summarize(lists: pd.DataFrame, events: int, states: np.ndarray) -> Summary:
    """The figures of a shop, from its candidate rows, number of events and states of its photos."""
    random, logged = mean_ndcg(lists["list"].to_numpy(), lists["grade"].to_numpy())
    return Summary(
        items=len(states),
        lists=int(lists["list"].nunique()),
        rows=len(lists),
        events=events,
        queries=int(lists["query"].nunique()),
        photos_missing=float((states == "missing").mean()),
        photos_broken=float((states == "broken").mean()),
        grades=tuple(
            float(c) for c in np.bincount(lists["grade"], minlength=MAX_GRADE + 1) / len(lists)
        ),
        click_through=tuple(float(c) for c in lists.groupby("position")["click"].mean()),
        ndcg_random=random,
        ndcg_logged=logged,
    )


def mean_ndcg(list_of: np.ndarray, grade: np.ndarray, cutoff: int = 10) -> tuple[float, float]:
    """The mean NDCG of a random order, in expectation, and of the order of the rows.

    Args:
      list_of: The list of each row; the rows of a list are consecutive, [rows].
      grade: Grades, [rows].
      cutoff: Number of positions that count.

    Returns:
      Both means over the lists with a relevant item; NaN if no list has one.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (TOIS 2002),
      with the gain 2^grade − 1.
    """
    random, logged = [], []
    starts = run_starts(list_of)
    for grades in np.split(grade, starts[1:]):
        gain = 2.0**grades - 1
        if not gain.any():
            continue
        discount = 1 / np.log2(np.arange(2, min(cutoff, len(gain)) + 2))
        ideal = np.sort(gain)[::-1][: len(discount)] @ discount
        random.append(gain.mean() * discount.sum() / ideal)
        logged.append(gain[: len(discount)] @ discount / ideal)
    if not logged:
        return float("nan"), float("nan")
    return float(np.mean(random)), float(np.mean(logged))
