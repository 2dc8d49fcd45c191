"""How often the intervals of `mmrank.judge` contain the truth, on logs of simulated users."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from mmrank.outputs import exit_code
from mmrank.reranking.drawn import draw_page
from mmrank.reranking.exploration import EXPLORATIONS
from mmrank.reranking.judging import ESTIMATORS, overlap_of, verdicts
from mmrank.reranking.judging.judged import judged_pages
from mmrank.reranking.moves import moved
from mmrank.reranking.orders import exhaustive
from mmrank.reranking.page import Page
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.rearranged import rearranged, rows_of
from mmrank.reranking.users import USERS, Rewards, UserModel

EXAMPLE = """\
example:
  python -m pipelines.judge_coverage
  python -m pipelines.judge_coverage --users saturation --logs 50

A policy that makes the best single swap of each page, as the simulator knows it, is judged from
many logs. Coverage, bias and root mean squared error are against what its pages are worth by the
user model. The exit code is 1 if the coverage of an estimator that should be unbiased is not
between .90 and .99; those that need not be are marked. The last log is one that cannot judge.
"""
SIZE, POOL = 4, 20_000
EPSILON = {"pair_swap": 0.5, "epsilon": 0.9}
LEAST, MOST = 0.90, 0.99
ADDITIVE = "position_based"  # the only users for whom a page is a sum over its positions


@dataclasses.dataclass(frozen=True)
class Row:
    """What one estimator said on the logs of one user model and exploration.

    Attributes:
      user, exploration, estimator: Names.
      refused: Share of logs on which it said nothing.
      coverage: Share of its intervals that contain the truth; NaN without intervals.
      bias, error: Mean error and root mean squared error.
      exempt: Why it may be biased; empty if it should not be.
    """

    user: str
    exploration: str
    estimator: str
    refused: float
    coverage: float
    bias: float
    error: float
    exempt: str

    @property
    def wrong(self) -> bool:
        """Whether the coverage is not what it should be."""
        return not self.exempt and not LEAST <= self.coverage <= MOST

    def __str__(self) -> str:
        coverage = "      -" if np.isnan(self.coverage) else f"{self.coverage:7.3f}"
        note = "WRONG" if self.wrong else self.exempt
        return (
            f"{self.user:<16}{self.exploration:<11}{self.estimator:<23}{self.refused:8.1%}"
            f"{coverage}{self.bias:+9.4f}{self.error:9.4f}  {note}"
        ).rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 good, 1 a coverage that is wrong, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.judge_coverage",
        description="Measures the coverage of the intervals of mmrank.judge.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--users",
        default="position_based,saturation,cascade",
        help=f"comma-separated, of {', '.join(USERS)} (default %(default)s)",
    )
    parser.add_argument("--logs", type=int, default=200, help="(default %(default)s)")
    parser.add_argument("--pages", type=int, default=2500, help="of a log (default %(default)s)")
    args = parser.parse_args(argv)
    return exit_code(lambda: _run(args.users.split(","), args.logs, args.pages))


def _run(users: Sequence[str], logs: int, pages: int) -> int:
    pool = draw_pages(lambda rng: draw_page(SIZE, rng), POOL, seed=0)
    made = {name: USERS.make(name) for name in users}
    head = f"{'user':<16}{'explored':<11}{'estimator':<23}{'refused':>8}{'covers':>7}"
    print(f"{head}{'bias':>9}{'rmse':>9}", flush=True)
    failed = False
    for name, user in made.items():
        for kind in EPSILON:
            for row in measured(name, user, kind, pool, logs, pages):
                print(row, flush=True)
                failed |= row.wrong
    print(f"\n{refused(made[users[0]], pool, pages)}")
    return int(failed)


def measured(name: str, user: UserModel, kind: str, pool: Page, logs: int, pages: int) -> list[Row]:
    """Returns a row for each estimator.

    Args:
      name, user: The user model.
      kind: Name of the exploration.
      pool: Pages that those of a log are drawn from, with replacement.
      logs: Number of logs.
      pages: Number of pages of a log.
    """
    orders, truth = best_swaps(pool, user)
    exploration = EXPLORATIONS.make(kind, {"epsilon": EPSILON[kind]})
    record = {"kind": kind, "epsilon": EPSILON[kind], "open": [True] * SIZE}
    found: dict[str, list[list[float]]] = {estimator: [] for estimator in ESTIMATORS}
    for seed in tqdm(range(logs), desc=f"{name}, {kind}", disable=None, delay=1):
        rows = np.random.default_rng([seed, 1]).integers(POOL, size=pages)
        sessions = played_log(rows_of(pool, rows), exploration, user, seed)
        judged = judged_pages(sessions, [record] * pages, orders[rows], Rewards(), seed=seed)
        for said in verdicts(judged, list(ESTIMATORS), resamples=500, seed=seed):
            if said.reward is not None:
                reward = said.reward
                found[said.estimator].append([reward.mean, reward.low, reward.high])
    made = []
    for estimator, values in found.items():
        mean, low, high = np.array(values).reshape(-1, 3).T
        silent = not len(mean) or np.isnan(low[0])
        made.append(
            Row(
                user=name,
                exploration=kind,
                estimator=estimator,
                refused=1 - len(mean) / logs,
                coverage=np.nan if silent else float(((low <= truth) & (truth <= high)).mean()),
                bias=float(mean.mean() - truth) if len(mean) else np.nan,
                error=float(np.sqrt(((mean - truth) ** 2).mean())) if len(mean) else np.nan,
                exempt=_exempt(estimator, name, kind),
            )
        )
    return made


def best_swaps(pool: Page, user: UserModel) -> tuple[np.ndarray, float]:
    """Returns each page in its best order that is at most one swap away, and their mean worth."""
    base = np.arange(SIZE)
    tried = np.stack([base, *(moved(base, action) for action in range(1, SIZE))])
    worth = np.stack([user.expected(_in_order(pool, o), Rewards()) for o in tried], -1)
    return tried[worth.argmax(-1)], float(worth.max(-1).mean())


def refused(user: UserModel, pool: Page, pages: int) -> str:
    """Returns why a log with pair swaps cannot judge the best of all orders."""
    some = rows_of(pool, slice(pages))
    rng = np.random.default_rng(0)
    sessions = played_log(some, EXPLORATIONS.make("pair_swap", {"epsilon": 0.05}), user, seed=0)
    orders = np.stack([exhaustive(page, user, Rewards(), rng) for page in sessions.each()])
    record = {"kind": "pair_swap", "epsilon": 0.05, "open": [True] * SIZE}
    judged = judged_pages(sessions, [record] * pages, orders, Rewards(), ["pseudo_inverse"])
    lines = ["the best of all orders, from pair swaps on a twentieth of the pages:"]
    for estimator in ("inverse_propensity", "pseudo_inverse"):
        lines.append(f"  {estimator}: refused: {overlap_of(judged, estimator).refusal}")
    return "\n".join(lines)


def _in_order(pool: Page, order: np.ndarray) -> Page:
    return rearranged(pool, np.tile(order, (POOL, 1)))


def _exempt(estimator: str, user: str, kind: str) -> str:
    if estimator == "direct":
        return "as good as its model"
    if estimator == "switch_doubly_robust" and kind == "epsilon":
        return "a model where weights are high"
    if estimator == "pseudo_inverse" and user != ADDITIVE and kind != "pair_swap":
        return "positions interact"
    return ""


if __name__ == "__main__":
    sys.exit(main())
