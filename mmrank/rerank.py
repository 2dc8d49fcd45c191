"""A policy that rearranges pages: `python -m mmrank.rerank`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import pathlib
from collections.abc import Sequence

import numpy as np
import yaml

from mmrank.config import ConfigError, from_mapping
from mmrank.config.mapping import apply_override, read_plain
from mmrank.outputs import OutputError, exit_code, log_progress, refuse_filled, write_whole
from mmrank.reranking.config import RerankConfig
from mmrank.reranking.orders import ORDERS
from mmrank.reranking.page import MOST_TRIED, Page

EXAMPLE = """\
example:
  python -m mmrank.rerank --config configs/rerank.yaml --out runs/rerank
  python -m mmrank.rerank --config configs/rerank.yaml --set user=anchoring --out runs/anchoring

Pages are drawn at random, and a user model says what each order of a page is worth. The policy
swaps neighbours on the ranker's page; it sees scores and each candidate's own merit, not the user
model. OUT gets the config, checkpoints, TensorBoard's logs, the weights, results.json and the table
that is printed: the policy next to the ranker's order, maximal marginal relevance, the order by
predicted clicks, a random order, and the best of all orders.
"""
logger = logging.getLogger("mmrank.rerank")
CONFIG, RESULTS = "config.yaml", "results.json"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(
        lambda: _run(args), "checkpoints are kept; run the command with --resume to continue"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.rerank",
        description="Trains a policy that rearranges result pages, and compares it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--config", type=path, metavar="FILE", help="config (default: all defaults)"
    )
    parser.add_argument("--out", required=True, type=path, metavar="OUT", help="new folder")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue a stopped training in OUT",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    if args.resume:
        if args.config is not None or args.set:
            raise ConfigError("--resume: the config is that of OUT; leave --config and --set out")
        if not (args.out / CONFIG).is_file():
            raise OutputError(f"{args.out}: no training to resume; run it without --resume")
        config = _read(args.out / CONFIG, [])
    else:
        refuse_filled(args.out)
        config = _read(args.config, args.set)
    if (args.out / RESULTS).exists():
        raise OutputError(f"{args.out}: this training is finished; give a new folder")
    from mmrank.reranking.dqn import train_policy
    from mmrank.reranking.drawn import draw_page
    from mmrank.reranking.environment import RerankEnv
    from mmrank.reranking.guards import Guards
    from mmrank.reranking.results import as_json, compare_orders, table

    pages = config.pages

    def drawn(rng: np.random.Generator) -> Page:
        return draw_page(pages.size, rng, groups=pages.groups, noise=pages.noise)

    env = RerankEnv(
        drawn,
        config.user,
        config.options,
        size=pages.size,
        most_moves=config.most_moves,
        rewards=config.rewards,
        when="difference",
        guards=Guards(config.guards),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.resume:
        text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
        write_whole(args.out / CONFIG, text)
    policy = train_policy(env, config.dqn, seed=config.seed, folder=args.out, resume=args.resume)
    # Training draws from seeds of its own, so that no test page is a training page.
    rng = np.random.default_rng([config.seed, 1])
    test = [drawn(rng) for _ in range(pages.test)]
    logger.info("comparing the policy with other orders on %d pages", len(test))
    orders = {"dqn": policy.orders(test, env)}
    for name in ORDERS:
        if name == "exhaustive" and pages.size > MOST_TRIED:
            continue
        order = ORDERS.make(name)
        orders[name] = [order(page, env.user, env.rewards, rng) for page in test]
    results = compare_orders(test, orders, env.user, env.rewards, seed=config.seed)
    write_whole(args.out / RESULTS, json.dumps(as_json(results), indent=2) + "\n")
    print(f"{config.user}, {pages.test} pages of {pages.size} candidates\n\n{table(results)}")


def _read(file: pathlib.Path | None, overrides: Sequence[str]) -> RerankConfig:
    """The config of a file, or the defaults, with overrides; the user model is checked."""
    from mmrank.reranking.users import USERS

    where = str(file or "--set")
    if file is None:
        plain: dict[str, object] = {}
        for override in overrides:
            apply_override(plain, override)
    else:
        plain = read_plain(file, overrides)
    config = from_mapping(RerankConfig, plain, where)
    USERS.options(config.user, config.options, where)
    return config


if __name__ == "__main__":
    raise SystemExit(main())
