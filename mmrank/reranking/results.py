"""What the pages of a policy and of other orders are worth, compared on the same pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.evaluation.significance import bootstrap_intervals, compare
from mmrank.reranking.page import Page
from mmrank.reranking.users import Rewards, UserModel

__all__ = ["OrderResult", "compare_orders", "table"]

METRIC = "reward"


@dataclasses.dataclass(frozen=True)
class OrderResult:
    """One row of the comparison.

    Attributes:
      name: What ordered the pages.
      mean, low, high: Mean expected reward of a page, with its 95% interval.
      share: Share of what the best of all orders gains over the ranker's; NaN without the former.
      difference: The policy's mean less this one's; None for the policy itself.
      p: Paired sign-flip test of the difference, by Holm; None for the policy itself.
    """

    name: str
    mean: float
    low: float
    high: float
    share: float
    difference: float | None
    p: float | None


def compare_orders(
    pages: Sequence[Page],
    orders: Mapping[str, Sequence[np.ndarray]],
    user: UserModel,
    rewards: Rewards,
    seed: int = 0,
) -> list[OrderResult]:
    """Returns a row for each way to order the pages.

    Args:
      pages: Test pages.
      orders: The orders of the pages, by name; the first is the policy, and `ranker` must be there.
      user: The user model, which knows what an order is worth.
      rewards: What clicks, seconds and purchases are worth.
      seed: Seed of the intervals and tests.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, Rewards, draw_page
      >>> pages = [draw_page(2, np.random.default_rng(seed)) for seed in range(5)]
      >>> as_shown = [np.arange(2)] * 5
      >>> rows = compare_orders(
      ...     pages, {"dqn": as_shown, "ranker": as_shown}, USERS.make("cascade"), Rewards()
      ... )
      >>> rows[0].name, rows[1].difference, rows[1].p
      ('dqn', 0.0, 1.0)
    """
    worth = {
        name: np.array(
            [user.expected(p.real.take(o), rewards) for p, o in zip(pages, given, strict=True)]
        )
        for name, given in orders.items()
    }
    intervals = bootstrap_intervals(np.stack(list(worth.values()), -1), seed=seed)
    tests = {c.b: c for c in compare({n: {METRIC: w} for n, w in worth.items()}, seed=seed)}
    base = worth["ranker"].mean()
    possible = worth["exhaustive"].mean() - base if "exhaustive" in worth else np.nan
    return [
        OrderResult(
            name=name,
            mean=interval.mean,
            low=interval.low,
            high=interval.high,
            share=float((interval.mean - base) / possible) if possible else float("nan"),
            difference=tests[name].difference.mean if name in tests else None,
            p=tests[name].p_holm if name in tests else None,
        )
        for name, interval in zip(worth, intervals, strict=True)
    ]


def table(results: Sequence[OrderResult]) -> str:
    """Returns the results as text."""
    wide = max(12, *(len(row.name) + 2 for row in results))
    title = f"{'order':<{wide}}{'reward of a page':<24}{'share of gain':>14}"
    lines = [f"{title}{f'{results[0].name} - it':>10}{'p':>9}"]
    lines.append("-" * len(lines[0]))
    for row in results:
        reward = f"{row.mean:.4f} [{row.low:.4f} {row.high:.4f}]"
        compared = "" if row.difference is None else f"{row.difference:+10.4f}{row.p:9.4f}"
        share = f"{row.share:.1%}" if row.share == row.share else ""
        lines.append(f"{row.name:<{wide}}{reward:<24}{share:>14}{compared}")
    return "\n".join(lines)


def as_json(results: Sequence[OrderResult]) -> list[dict[str, Any]]:
    """Returns the results as plain values; a share that does not exist is null."""
    rows = [dataclasses.asdict(row) for row in results]
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]
