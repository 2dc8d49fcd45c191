"""What a policy would have earned on logged pages: `python -m mmrank.judge`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from mmrank.config import ConfigError, from_mapping
from mmrank.config.mapping import apply_override
from mmrank.data.page_log import read_page_log
from mmrank.outputs import WRONG_INPUT, check_target, exit_code, log_progress, write_whole
from mmrank.ranges import Count, Range, Seed
from mmrank.reranking.judging import ESTIMATORS, LoggedPages, overlap_of, verdicts
from mmrank.reranking.judging.estimators import SwitchOptions
from mmrank.reranking.judging.judged import judged_pages, padded_orders
from mmrank.reranking.judging.report import as_json, table
from mmrank.reranking.logged import sessions_of, usable_pages
from mmrank.reranking.sessions import Sessions
from mmrank.reranking.users import Rewards

if TYPE_CHECKING:
    from mmrank.reranking.trained import TrainedPolicy

EXAMPLE = """\
example:
  python -m mmrank.judge --log pages/ --policy runs/rerank
  python -m mmrank.judge --log pages/ --policy runs/new --against runs/old --out judged.json
  python -m mmrank.judge --log pages/ --policy runs/rerank --set rewards.purchase=20

LOG is the folder of a server's log of shown pages, of which a share has to be explored. Each
estimator gives the policy's reward of a page, and its difference from the logged reward or from
another policy on the same pages, with bootstrap intervals over pages. What users did below the
candidates that may be rearranged does not count. An estimator that the log does not allow is
refused in words. If all are refused, the exit code is 2, so that a script does not go on as if the
policy had been judged.

values of --set: rewards.click, rewards.dwell, rewards.purchase (by default those of the policy's
config), switch_doubly_robust.most, folds, resamples, level, seed
"""
RANKER, LOGGED = "ranker", "logged"
logger = logging.getLogger("mmrank.judge")


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    """How a policy is judged.

    Attributes:
      rewards: What clicks, seconds and purchases are worth.
      switch_doubly_robust: Options of this estimator.
      folds: Folds of pages for the model of rewards.
      resamples: Bootstrap resamples of the pages.
      level: Coverage of the intervals.
      seed: Seed of folds and resamples.
    """

    rewards: Rewards = Rewards()
    switch_doubly_robust: SwitchOptions = SwitchOptions()
    folds: Annotated[int, Range(2, 100)] = 3
    resamples: Count = 2000
    level: Annotated[float, Range(0, 1, above=True, below=True)] = 0.95
    seed: Seed = 0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 judged, 2 wrong input or a log that cannot judge, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.judge",
        description="Estimates what a policy would have earned, from logged pages.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--log", required=True, type=pathlib.Path, help="folder of shown pages")
    parser.add_argument(
        "--policy",
        required=True,
        metavar="RUN",
        help="folder of `python -m mmrank.rerank`, or `ranker`: the ranker's own order",
    )
    parser.add_argument(
        "--against",
        default=LOGGED,
        metavar="RUN",
        help="to compare with: a folder, `ranker`, or `logged` for the logged reward (default)",
    )
    parser.add_argument(
        "--estimator",
        action="append",
        metavar="NAME",
        help=f"one of {', '.join(ESTIMATORS)}; may be repeated (default: all)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="see below")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="also write JSON")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_target("--out", args.out)
    for flag, run in (("--policy", args.policy), ("--against", args.against)):
        if run not in (RANKER, LOGGED) and not pathlib.Path(run).is_dir():
            raise ConfigError(f"{flag}: {run}: no such folder; train a policy with mmrank.rerank")
    if args.policy == LOGGED:
        raise ConfigError("--policy logged: the logged reward is what a policy is compared with")
    names = list(dict.fromkeys(args.estimator or ESTIMATORS))
    for name in names:
        ESTIMATORS.entry(name, "--estimator")
    _config(args.set, {})
    log = read_page_log(args.log)
    if log.left_out():
        logger.info("left out: %s", log.left_out())
    policies = {run: _policy(run) for run in (args.policy, args.against)}
    fingerprint = _ranker_of(policies)
    sessions, pages = sessions_of(log, None, fingerprint), usable_pages(log, fingerprint)
    policy = policies[args.policy]
    rewards = {} if policy is None else dataclasses.asdict(policy.config.rewards)
    config = _config(args.set, rewards)
    explorations = [page.shown.exploration for page in pages]
    logger.info("judging %s on %d pages", args.policy, len(pages))

    def made(orders: np.ndarray) -> LoggedPages:
        given = sessions, explorations, orders, config.rewards, names
        return judged_pages(*given, folds=config.folds, seed=config.seed)

    judged, against = made(_orders(args.policy, policy, sessions)), None
    if args.against != LOGGED:
        against = made(_orders(args.against, policies[args.against], sessions))
    said = verdicts(
        judged,
        names,
        against,
        {"switch_doubly_robust": dataclasses.asdict(config.switch_doubly_robust)},
        level=config.level,
        resamples=config.resamples,
        seed=config.seed,
    )
    overlap = overlap_of(judged)
    if args.out is not None:
        plain = as_json(said, overlap, args.against)
        write_whole(args.out, json.dumps(plain, indent=2, allow_nan=False) + "\n")
    worth = dataclasses.asdict(config.rewards)
    print(
        f"{args.policy} on {args.log}; worth: {', '.join(f'{k} {v:g}' for k, v in worth.items())}"
    )
    print(table(said, overlap, args.against))
    return 0 if any(each.reward is not None for each in said) else WRONG_INPUT


def _config(overrides: Sequence[str], rewards: dict[str, Any]) -> JudgeConfig:
    plain: dict[str, Any] = {"rewards": dict(rewards)}
    for override in overrides:
        apply_override(plain, override)
    config: JudgeConfig = from_mapping(JudgeConfig, plain, "--set")
    return config


def _policy(run: str) -> TrainedPolicy | None:
    """The policy of a folder; None for the ranker's own order and for the logged one."""
    if run in (RANKER, LOGGED):
        return None
    from mmrank.reranking.trained import load_policy

    return load_policy(pathlib.Path(run))


def _ranker_of(policies: Mapping[str, TrainedPolicy | None]) -> str | None:
    """The `item_fingerprint` of the ranker whose pages can be judged; None for any.

    Raises:
      ConfigError: The policies are of two rankers.
    """
    of = {run: p.about.fingerprint for run, p in policies.items() if p and p.about.fingerprint}
    if len(set(of.values())) > 1:
        raise ConfigError(
            f"{' and '.join(of)} learned from pages of two rankers, and no page is of both; judge "
            "each of them against `ranker`"
        )
    return next(iter(of.values()), None)


def _orders(run: str, policy: TrainedPolicy | None, sessions: Sessions) -> np.ndarray:
    """The orders of a policy, or the ranker's, [n, k] int."""
    if policy is None:
        return np.tile(np.arange(sessions.order.shape[1]), (len(sessions), 1))
    width = sessions.pages.vector.shape[-1]
    if width != policy.about.width:
        raise ConfigError(
            f"{run}: the policy learned from vectors of {policy.about.width} numbers, but those of "
            f"the log have {width}; judge a policy of the ranker that was logged"
        )
    orders = policy.orders(list(sessions.each()))
    return padded_orders(orders, sessions.order.shape[1])


if __name__ == "__main__":
    raise SystemExit(main())
