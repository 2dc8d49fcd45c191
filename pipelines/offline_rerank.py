"""Checks what policies learn from logs alone, on logs of simulated users, where the truth is known.

    python -m pipelines.offline_rerank --user saturation --out runs/offline

A static ranker's pages are logged; exploration swaps two neighbours on one page in twenty. Each
agent learns from the earlier part of the log. The latest part predicts what its policy gains over
the ranker, and the user model says what it really gains on fresh pages.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrank.evaluation.significance import bootstrap_intervals, sign_flip_p_values
from mmrank.outputs import exit_code, log_progress, refuse_filled, write_whole

EXAMPLE = """\
example:
  python -m pipelines.offline_rerank --user saturation --out runs/offline-saturation
  python -m pipelines.offline_rerank --user anchoring --most-moves 3 --out runs/offline-3
"""
RESULT = "offline_rerank.json"
SIZE, EPSILON = 6, 0.05
logger = logging.getLogger("mmrank.offline_rerank")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.offline_rerank",
        description=(__doc__ or "").splitlines()[0],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", required=True, type=pathlib.Path, metavar="OUT", help="new folder")
    add("--user", default="saturation", help="name of the user model")
    add("--pages", default=400_000, type=_count, help="logged pages of six")
    add("--test", default=20_000, type=_count, help="fresh pages for the truth")
    add("--most-moves", default=1, type=_count, help="moves of a policy on a page")
    add("--alpha", default=None, type=float, help="weight of the conservatism")
    add("--updates", default=None, type=_count, help="updates of each agent")
    add("--seed", default=0, type=int, help="seed of pages, users and weights")
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _run(args: argparse.Namespace) -> None:
    refuse_filled(args.out)
    from mmrank.reranking.drawn import draw_page
    from mmrank.reranking.exploration import PairSwap
    from mmrank.reranking.offline.division import divided, sessions_at
    from mmrank.reranking.played import draw_pages, played_log
    from mmrank.reranking.users import USERS

    user = USERS.make(args.user)
    logger.info("drawing %d pages", args.pages)
    drawn = draw_pages(lambda rng: draw_page(SIZE, rng), args.pages, seed=args.seed)
    fresh = draw_pages(lambda rng: draw_page(SIZE, rng), args.test, seed=args.seed + 1)
    swap = {"kind": "pair_swap", "epsilon": EPSILON, "open": [True] * SIZE}
    log = played_log(drawn, PairSwap(EPSILON), user, seed=args.seed)
    test = played_log(fresh, PairSwap(EPSILON), user, seed=args.seed + 1)
    from mmrank.reranking.judging.report import as_json
    from mmrank.reranking.offline.agents import AGENTS
    from mmrank.reranking.offline.observer import LogObserver
    from mmrank.reranking.offline.options import OfflineOptions
    from mmrank.reranking.offline.predicted import predicted_gain
    from mmrank.reranking.offline.rearranging import orders_by
    from mmrank.reranking.offline.trainer import train_offline
    from mmrank.reranking.rearranged import rearranged
    from mmrank.reranking.users import Rewards

    rewards, learning = Rewards(), OfflineOptions()
    if args.updates is not None:
        learning = dataclasses.replace(learning, updates=args.updates)
    parts = divided(np.arange(args.pages), learning.judged)
    learned, judged = (sessions_at(log, rows) for rows in parts)
    ranked = user.expected(test.pages, rewards)
    best = np.max(
        [user.expected(rearranged(test.pages, o), rewards) for o in _one_swap(test.order.shape)], 0
    )
    logger.info("the best of one swap gains %.4f", (best - ranked).mean())
    rows = []
    for name in AGENTS:
        options = {"alpha": args.alpha} if name == "cql" and args.alpha is not None else {}
        folder = args.out / name
        folder.mkdir(parents=True)
        policy = train_offline(
            learned,
            agent=name,
            agent_options=options,
            learning=learning,
            most_moves=args.most_moves,
            rewards=rewards,
            seed=args.seed,
            folder=folder,
        )
        network = policy.network
        logger.info("judging %s by %d other logged pages", name, len(judged))
        shown = orders_by(network, LogObserver(judged, args.most_moves))
        said, overlap = predicted_gain(judged, [swap] * len(judged), shown, rewards, seed=args.seed)
        orders = orders_by(network, LogObserver(test, args.most_moves))
        gains = user.expected(rearranged(test.pages, orders), rewards) - ranked
        [true] = bootstrap_intervals(gains[:, np.newaxis], seed=args.seed)
        [p] = sign_flip_p_values(gains[:, np.newaxis], seed=args.seed)
        rows.append(
            {
                "agent": name,
                "moved": float((shown != judged.base).any(-1).mean()),
                "predicted": as_json(said, overlap, "base"),
                "true": dataclasses.asdict(true),
                "p": float(p),
            }
        )
    result = {"ranked": float(ranked.mean()), "one_swap": float((best - ranked).mean())}
    write_whole(args.out / RESULT, json.dumps(result | {"agents": rows}, indent=2) + "\n")
    print(_table(args, result, rows))


def _one_swap(shape: tuple[int, ...]) -> list[np.ndarray]:
    from mmrank.reranking.moves import moved

    n, k = shape
    return [np.tile(moved(np.arange(k), action), (n, 1)) for action in range(k)]


def _table(args: argparse.Namespace, result: dict[str, float], rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{args.user}: {args.pages} logged pages, most moves {args.most_moves}",
        f"a page earns {result['ranked']:.3f} by the ranker; the best swap of each would gain "
        f"{result['one_swap']:.4f}",
        "",
        f"{'agent':<9}{'pages moved':>12}  {'gain predicted':<26}{'true gain':<26}{'p':>7}",
    ]
    lines.append("-" * len(lines[-1]))
    for row in rows:
        said = row["predicted"]["verdicts"][0]
        gain = _cell(said["difference"]) if said["difference"] else "refused"
        lines.append(
            f"{row['agent']:<9}{row['moved']:>12.1%}  {gain:<26}{_cell(row['true']):<26}"
            f"{row['p']:>7.4f}"
        )
        if said["refusal"]:
            lines.append(f"  refused: {said['refusal']}")
    return "\n".join(lines)


def _cell(values: dict[str, float]) -> str:
    return f"{values['mean']:+.4f} [{values['low']:+.4f} {values['high']:+.4f}]"


if __name__ == "__main__":
    sys.exit(main())
