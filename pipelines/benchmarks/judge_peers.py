"""Compares the estimators of `mmrank.judge` with those of the Open Bandit Pipeline, on one log."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrank.outputs import MissingExtra, exit_code
from mmrank.reranking.judging import ESTIMATORS, LoggedPages
from mmrank.reranking.page import all_orders

EXAMPLE = """\
example, in a Python environment of its own that has mmrank:
  pip install --no-deps --ignore-requires-python obp==0.5.5 && pip install --no-deps seaborn pyieoe
  python -m pipelines.benchmarks.judge_peers

Both judge a Plackett-Luce policy from the log of another one. Of obp, pages are slates for its
slate estimators, and single actions for the others. The exit code is 1 if two estimates differ by
more than 1e-6. obp has no pseudo-inverse; mmrank has no estimator that assumes that positions do
not matter to each other (SlateIndependentIPS), which is shown for comparison.
"""
CANDIDATES, TOLERANCE, MOST = 4, 1e-6, 10.0
WITHOUT_MODEL = "cascade_doubly_robust, q = 0"


@dataclasses.dataclass(frozen=True)
class Log:
    """A drawn log, with all that the estimators of either side need.

    Attributes:
      orders: All orders of the candidates, [orders, k] int.
      shown: Which order was shown, [pages] int.
      rewards: What each position earned, [pages, k].
      logged, judged: Probability of the candidate at each position of each order given those above,
        [pages, orders, k].
      model: Predicted reward from a position on, of each candidate there, whatever is above it,
        [pages, k, candidates].
    """

    orders: np.ndarray
    shown: np.ndarray
    rewards: np.ndarray
    logged: np.ndarray
    judged: np.ndarray
    model: np.ndarray

    def pages(self) -> LoggedPages:
        """Returns the log as the estimators of mmrank take it."""
        row, index = np.arange(len(self.shown)), np.arange(CANDIDATES)
        order = self.orders[self.shown]
        predicted = self.model[row[:, np.newaxis], index, order]
        choices = self.choices()
        return LoggedPages(
            self.rewards,
            self.logged[row, self.shown],
            self.judged[row, self.shown],
            predicted=predicted,
            expected=(choices * self.model).sum(-1),
        )

    def choices(self) -> np.ndarray:
        """Returns how probable the judged policy makes each candidate below those shown above.

        The shape is [pages, k, candidates].
        """
        made = np.zeros_like(self.model)
        order = self.orders[self.shown]
        for index in range(CANDIDATES):
            for row, above in enumerate(order[:, :index]):
                same = (self.orders[:, :index] == above).all(-1)
                made[row, index, self.orders[same, index]] = self.judged[row, same, index]
        return made


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 equal, 1 not, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.judge_peers",
        description="Compares estimators with those of the Open Bandit Pipeline.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pages", type=int, default=500, help="(default %(default)s)")
    args = parser.parse_args(argv)
    return exit_code(lambda: _run(args.pages))


def _run(pages: int) -> int:
    log = drawn_log(pages)
    mine, theirs = estimates(log), peer_estimates(log)
    print(f"{'mmrank':<29}{'obp':<44}{'mmrank':>10}{'obp':>10}{'apart':>10}")
    worst = 0.0
    for peer, (name, value) in theirs.items():
        if not name:
            print(f"{'-':<29}{peer:<44}{'':>10}{value:>10.6f}")
            continue
        apart = abs(mine[name] - value)
        worst = max(worst, apart)
        print(f"{name:<29}{peer:<44}{mine[name]:>10.6f}{value:>10.6f}{apart:>10.1e}")
    return int(worst > TOLERANCE)


def drawn_log(pages: int, seed: int = 0) -> Log:
    """Returns a log of pages with four candidates, whose rewards depend on what is above.

    Args:
      pages: Number of pages.
      seed: Seed of RandomState, whose numbers stay the same in every version of NumPy.
    """
    rng = np.random.RandomState(seed)
    orders = all_orders(CANDIDATES)
    logged, judged = (_plackett_luce(rng.normal(size=(pages, CANDIDATES))) for _ in range(2))
    cumulative = logged.prod(-1).cumsum(-1)
    shown = np.minimum((rng.rand(pages, 1) > cumulative).sum(-1), len(orders) - 1)
    worth = rng.rand(pages, CANDIDATES)
    own = np.take_along_axis(worth, orders[shown], -1)
    above = np.concatenate([np.zeros((pages, 1)), own[:, :-1]], -1)
    rewards = (rng.rand(pages, CANDIDATES) < own * (1 - 0.5 * above)).astype(float)
    return Log(orders, shown, rewards, logged, judged, rng.rand(pages, CANDIDATES, CANDIDATES))


def estimates(log: Log) -> dict[str, float]:
    """Returns what the estimators of mmrank say that obp has too."""
    pages, options = log.pages(), {"switch_doubly_robust": {"most": MOST}}
    names = [name for name in ESTIMATORS if name != "pseudo_inverse"]
    made = {n: float(ESTIMATORS.make(n, options.get(n))(pages).mean()) for n in names}
    none = np.zeros_like(pages.rewards)
    bare = dataclasses.replace(pages, predicted=none, expected=none)
    made[WITHOUT_MODEL] = float(ESTIMATORS.make("cascade_doubly_robust")(bare).mean())
    return made


def peer_estimates(log: Log) -> dict[str, tuple[str, float]]:
    """Returns what obp's estimators say: by their name, mmrank's name for it and the estimate.

    Raises:
      MissingExtra: obp is not installed.
    """
    try:
        from obp import ope
    except ModuleNotFoundError as error:
        raise MissingExtra(f"obp cannot be imported ({error}): see --help for how to") from error
    count, k = log.rewards.shape
    pages = log.pages()
    row = np.arange(count)
    slates = {
        "slate_id": np.repeat(row, k),
        "position": np.tile(np.arange(k), count),
        "reward": log.rewards.ravel(),
        "action": log.orders[log.shown].ravel(),
    }
    whole = {
        "pscore": np.repeat(pages.logged.prod(-1), k),
        "evaluation_policy_pscore": np.repeat(pages.judged.prod(-1), k),
    }
    down_to = {
        "pscore_cascade": pages.logged.cumprod(-1).ravel(),
        "evaluation_policy_pscore_cascade": pages.judged.cumprod(-1).ravel(),
    }
    by_item = {
        "pscore_item_position": _marginal(log, log.logged).ravel(),
        "evaluation_policy_pscore_item_position": _marginal(log, log.judged).ravel(),
    }
    model = {
        "q_hat": log.model.ravel(),
        "evaluation_policy_action_dist": log.choices().ravel(),
    }
    single = {
        "reward": log.rewards.sum(-1),
        "action": log.shown,
        "pscore": pages.logged.prod(-1),
        "action_dist": log.judged.prod(-1)[:, :, np.newaxis],
        # A page is predicted by its first candidate, as `doubly_robust` does.
        "estimated_rewards_by_reg_model": log.model[:, 0, log.orders[:, 0]][:, :, np.newaxis],
        "position": np.zeros(count, int),
    }
    length: dict[str, Any] = {"len_list": k}
    cascade = ope.SlateCascadeDoublyRobust(**length, n_unique_action=CANDIDATES)
    ips, normalised = "inverse_propensity", "self_normalised"
    asked: list[tuple[str, Any, dict[str, Any]]] = [
        (ips, ope.SlateStandardIPS(**length), slates | whole),
        (normalised, ope.SelfNormalizedSlateStandardIPS(**length), slates | whole),
        ("cascade_doubly_robust", cascade, slates | down_to | model),
        (ips, ope.InverseProbabilityWeighting(), single),
        (normalised, ope.SelfNormalizedInverseProbabilityWeighting(), single),
        ("direct", ope.DirectMethod(), single),
        ("doubly_robust", ope.DoublyRobust(), single),
        ("switch_doubly_robust", ope.SwitchDoublyRobust(lambda_=MOST), single),
        (WITHOUT_MODEL, ope.SlateRewardInteractionIPS(**length), slates | down_to),
        ("", ope.SlateIndependentIPS(**length), slates | by_item),
    ]
    return {
        type(peer).__name__: (name, float(peer.estimate_policy_value(**given)))
        for name, peer, given in asked
    }


def _plackett_luce(utility: np.ndarray) -> np.ndarray:
    """Probability of each position of each order given those above, [pages, orders, k]."""
    shown = np.exp(utility)[:, all_orders(CANDIDATES)]
    left = shown[..., ::-1].cumsum(-1)[..., ::-1]
    return np.asarray(shown / left)


def _marginal(log: Log, conditional: np.ndarray) -> np.ndarray:
    """Probability that a policy shows the candidate shown at each position there, [pages, k]."""
    same = log.orders[log.shown][:, np.newaxis] == log.orders
    return np.asarray((conditional.prod(-1)[:, :, np.newaxis] * same).sum(1))


if __name__ == "__main__":
    sys.exit(main())
