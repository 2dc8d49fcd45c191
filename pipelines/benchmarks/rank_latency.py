"""Latency of /rank of two checkouts: `python -m pipelines.benchmarks.rank_latency`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from mmrank.outputs import InputError, exit_code, log_progress
from pipelines.benchmarks.hostile.memory import Tree
from pipelines.benchmarks.server_process import ServerProcess, server_process
from pipelines.benchmarks.serving_latency import Timing, numbers_of, table, timed

HERE, OTHER = "here", "other"
CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
MOST_SLOWER = 0.05  # of the median and of the processor time
EXAMPLE = """\
example:
  git worktree add ../before main
  python -m pipelines.benchmarks.rank_latency --model runs/quickstart-1/export \\
      --data runs/quickstart-1/data --other ../before

Starts the server of this checkout and that of another one, and asks both in turn, so that a change
of the machine's load meets both. No query is asked twice. Exit code 0: at every size and number of
clients, neither the median nor the processor time of a request is more than 5% above the other's.
Exit code 1: otherwise.
"""


@dataclasses.dataclass(frozen=True)
class Measured:
    """The requests of one server, at one size and number of clients.

    Attributes:
      timing: Their latencies.
      processor: Processor time (seconds) of the server for one request.
    """

    timing: Timing
    processor: float


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 not slower, 1 slower, 2 for wrong input.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.rank_latency",
        description="Compares the latency of POST /rank of this checkout and of another one.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("--model", required=True, type=path, help="folder of the numbered exports")
    parser.add_argument("--data", required=True, type=path, help="dataset that was exported")
    parser.add_argument("--other", required=True, type=path, help="other checkout of the project")
    parser.add_argument("--sizes", default="100,500,1000", help="candidates per list (%(default)s)")
    parser.add_argument("--clients", default="1,8", help="concurrent clients (%(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="per server (%(default)s)")
    return parser


def _run(args: argparse.Namespace) -> int:
    sizes, clients = numbers_of("--sizes", args.sizes), numbers_of("--clients", args.clients)
    if not (args.other / "mmrank" / "serve.py").is_file():
        raise InputError(f"--other {args.other}: not a checkout of this project")
    found = measure(args.model, args.data, args.other, sizes, clients, args.requests, args.rounds)
    print(report(found))
    return 0 if all(passed for _, passed in judge(found)) else 1


def measure(
    model: pathlib.Path,
    data: pathlib.Path,
    other: pathlib.Path,
    sizes: Sequence[int],
    clients: Sequence[int],
    requests: int,
    rounds: int,
) -> list[Measured]:
    """Returns the measurements of both servers; arguments as of the command."""
    from mmrank.data.tables import load_dataset
    from mmrank.serving.card import read_card
    from mmrank.serving.versions import version_folder, versions
    from pipelines.benchmarks import serving_ways as ways

    card = read_card(version_folder(model, versions(model)[-1]))
    dataset = load_dataset(data)
    found = []
    counter = itertools.count()
    total = len(sizes) * len(clients) * rounds * 2
    bar = tqdm(total=total, desc="rounds", disable=None, leave=False)
    with bar, _servers(model, {HERE: CHECKOUT, OTHER: other}) as servers:
        for size, count in itertools.product(sizes, clients):
            lists = ways.Lists.draw(card, dataset, size, seed=size)
            calls = {name: ways.over_rest(s.rest, lists) for name, s in servers.items()}
            seconds: dict[str, list[float]] = {name: [] for name in servers}
            walls = dict.fromkeys(servers, 0.0)
            spent = dict.fromkeys(servers, 0.0)
            for number in range(rounds):
                # Each server is the first in every second round.
                for name in (HERE, OTHER) if number % 2 else (OTHER, HERE):
                    tree = Tree(servers[name].process.pid)
                    before = tree.processor()
                    one = timed(name, calls[name], size, count, requests, counter)
                    # The requests that are not counted are as many at each server.
                    spent[name] += tree.processor() - before
                    seconds[name] += one.seconds
                    walls[name] += one.wall
                    bar.update()
            for name in servers:
                timing = Timing(name, size, count, seconds[name], walls[name])
                found.append(Measured(timing, spent[name] / len(seconds[name])))
    return found


@contextlib.contextmanager
def _servers(
    model: pathlib.Path, folders: dict[str, pathlib.Path]
) -> Iterator[dict[str, ServerProcess]]:
    """Servers of some checkouts by name."""
    with contextlib.ExitStack() as stack:
        logs = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"monitoring.log_requests": "false"}
        yield {
            name: stack.enter_context(
                server_process(model.resolve(), settings, logs / name, folder.resolve())
            )
            for name, folder in folders.items()
        }


def report(found: Sequence[Measured]) -> str:
    """Returns the figures as lines of text: latencies, then the comparisons."""
    lines = [table([m.timing for m in found]), ""]
    lines += [f"{'passed' if passed else 'FAILED'}  {words}" for words, passed in judge(found)]
    return "\n".join(lines)


def judge(found: Sequence[Measured]) -> list[tuple[str, bool]]:
    """Returns what is compared at each size and number of clients, and whether it passed."""
    by = {(m.timing.way, m.timing.candidates, m.timing.clients): m for m in found}
    verdicts = []
    for size, count in sorted({(size, count) for _, size, count in by}):
        here, other = by[HERE, size, count], by[OTHER, size, count]
        where = f"{size} candidates, {count} clients"
        for what, new, old in (
            ("median", here.timing.percentile(50), other.timing.percentile(50)),
            ("processor time per request", 1e3 * here.processor, 1e3 * other.processor),
        ):
            change = float(np.divide(new, old)) - 1
            words = f"{where}, {what}: {new:.2f} ms here, {old:.2f} ms in --other, {change:+.1%}"
            verdicts.append((words, change <= MOST_SLOWER))
    return verdicts


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
