"""Checks the methods of `mmrank.experiment` on simulated users: false discoveries, power, sessions.

`python -m pipelines.experiment_check` prints two tables after a minute of computation.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats
from tqdm import tqdm

from mmrank.experiments.arms import compare_arms, welch
from mmrank.experiments.daily import LEAST_UNITS, daily_looks
from mmrank.experiments.interleaved import EQUAL
from mmrank.experiments.power import Plan, plan_means
from mmrank.experiments.units import DAY, Metric, Units
from mmrank.reranking import USERS, Page, Rewards, UserModel, draw_page
from mmrank.reranking.interleaving import INTERLEAVINGS, Interleaving

MEAN, SHAPE = 0.5, 0.25  # outcome of a user: gamma distributed, with a skewness of 4
SD = float(MEAN / np.sqrt(SHAPE))
LIFT = 0.2
ALPHA, POWER = 0.05, 0.8
OUTCOME = Metric("outcome")
CANDIDATES = 8
BETTER, WORSE = 0.3, 1.2  # standard deviation of the noise in a ranker's scores


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status.

    Args:
      argv: The arguments; by default those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.experiment_check")
    parser.add_argument("--experiments", type=int, default=2_000, help="experiments of each kind")
    parser.add_argument("--sessions", type=int, default=30_000, help="sessions of each user model")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    plan = plan_means(MEAN, SD, lift=LIFT, power=POWER, alpha=ALPHA)
    print(f"lift {plan.lift:.0%}, planned for one look: {plan.per_group:,} users in each group")
    print(discoveries("no difference, 28 days", 28, 100, 0.0, args.experiments, rng))
    daily = -(-plan.per_group // 28)
    print(discoveries("lift, 28 days", 28, daily, plan.lift, args.experiments, rng, plan))
    days = -(-plan.sequential // daily)
    print(discoveries(f"lift, {days} days", days, daily, plan.lift, args.experiments, rng, plan))
    print(f"\n{'users':<16}{'method':<16}{'sessions':>10}{'A/B test':>10}{'ratio':>8}{'power':>8}")
    # Not `cascade`: its satisfied users leave, so that a better order is not clicked more often.
    for name in ("position_based", "saturation", "early_leave"):
        for row in sessions_needed(name, args.sessions, rng):
            print(row)
    return 0


def discoveries(
    title: str,
    days: int,
    daily: int,
    lift: float,
    experiments: int,
    rng: np.random.Generator,
    plan: Plan | None = None,
) -> str:
    """How often each way to analyse an experiment finds a difference, as a line of text.

    Args:
      title: Start of the line.
      days: Days of the experiment.
      daily: Users of each group that come each day.
      lift: True relative difference.
      experiments: How many experiments are drawn.
      rng: Random generator.
      plan: The plan, which says where the confidence sequence is tightest; the size unless given.
    """
    planned = 2 * (days * daily if plan is None else plan.per_group)
    group = np.tile(np.repeat([0, 1], daily), days)
    complete = np.repeat(np.arange(days), 2 * daily) * DAY
    once = peeked = sequential = 0
    stopped = []
    for _ in tqdm(range(experiments), title, leave=False):
        outcome = rng.gamma(SHAPE, MEAN / SHAPE, len(group)) + lift * MEAN * group
        units = Units(("a", "b"), group, {"outcome": outcome}, complete)
        difference = compare_arms(units, [OUTCOME], alpha=ALPHA)[1].difference
        once += difference is not None and difference.p_value <= ALPHA
        peeked += _peeks(outcome, group, days, daily)
        looks = daily_looks(units, [OUTCOME], planned=planned, alpha=ALPHA)
        found = [look.day for look in looks if look.p_holm <= ALPHA]
        sequential += bool(found)
        stopped += found[:1]
    median = f", on day {np.median(stopped):.0f} in the median" if stopped else ""
    return (
        f"{title}: Welch at the end {once / experiments:.1%}, Welch every day "
        f"{peeked / experiments:.1%}, always valid {sequential / experiments:.1%}{median}"
    )


def _peeks(outcome: np.ndarray, group: np.ndarray, days: int, daily: int) -> bool:
    """Whether Welch's test, made every day, ever finds a difference."""
    for day in range(1, days + 1):
        seen = slice(0, 2 * daily * day)
        arms = [outcome[seen][group[seen] == g] for g in (1, 0)]
        mean, error, freedom = welch(*arms)
        enough = len(arms[0]) >= LEAST_UNITS and error > 0
        if enough and 2 * stats.t.sf(abs(mean) / error, freedom) <= ALPHA:
            return True
    return False


def _sign_test_power(credits: np.ndarray) -> float:
    """Share of experiments in which the sign test finds the better ranker.

    Args:
      credits: Credits of the better one, [experiments, sessions].
    """
    wins, losses = (credits > EQUAL).sum(1), (credits < -EQUAL).sum(1)
    p = 2 * stats.binom.cdf(losses, wins + losses, 0.5)
    return float(((p <= ALPHA) & (wins > losses)).mean())


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """One page with the orders of both rankers."""

    page: Page
    better: np.ndarray
    worse: np.ndarray


def sessions_needed(name: str, sessions: int, rng: np.random.Generator) -> list[str]:
    """How many sessions an A/B test on clicks and interleaving need for the same power, as lines.

    That of an A/B test is computed. For interleaving, sessions are drawn again and again, and their
    number is raised by a twentieth until the sign test has the power.
    """
    user = USERS.make(name)
    drawn = [_draw(rng) for _ in range(sessions)]
    clicks = Rewards(click=1.0, purchase=0.0)
    # The expected difference on each page is known, so that only the spread has to be sampled.
    gain = np.mean([_expected(user, d, clicks) for d in drawn])
    spread = sum(
        np.var([_clicked(user, d.page, getattr(d, which), rng).sum() for d in drawn])
        for which in ("better", "worse")
    )
    factor = (stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER)) ** 2
    ab_test = 2 * factor * spread / gain**2
    lines = []
    for kind in INTERLEAVINGS:
        credits = _credits(INTERLEAVINGS.make(kind), user, drawn, rng)
        needed, power = 20, 0.0
        while power < POWER:
            needed = -(-needed * 21 // 20)
            power = _sign_test_power(rng.choice(credits, (2_000, needed)))
        lines.append(
            f"{name:<16}{kind:<16}{needed:>10,}{ab_test:>10,.0f}{ab_test / needed:>8.1f}"
            f"{power:>8.1%}"
        )
    return lines


def _draw(rng: np.random.Generator) -> _Drawn:
    page = draw_page(CANDIDATES, rng, noise=0.0)  # its scores are the true logits
    better, worse = (
        np.argsort(-(page.score + rng.normal(0, noise, CANDIDATES))) for noise in (BETTER, WORSE)
    )
    return _Drawn(page, better, worse)


def _expected(user: UserModel, drawn: _Drawn, rewards: Rewards) -> float:
    return float(
        user.expected(drawn.page.take(drawn.better), rewards)
        - user.expected(drawn.page.take(drawn.worse), rewards)
    )


def _clicked(
    user: UserModel, page: Page, order: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    return user.session(page.take(order), rng).clicks


def _credits(
    method: Interleaving, user: UserModel, drawn: Sequence[_Drawn], rng: np.random.Generator
) -> np.ndarray:
    credits = []
    for each in drawn:
        shown = method.interleave(each.better, each.worse, rng)
        clicks = _clicked(user, each.page, shown.order, rng)
        credits.append(method.credit(each.better, each.worse, shown, clicks))
    return np.array(credits)


if __name__ == "__main__":
    raise SystemExit(main())
