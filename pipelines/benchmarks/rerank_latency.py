"""What a policy adds to the latency of /rank: `python -m pipelines.benchmarks.rerank_latency`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import itertools
import os
import pathlib
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from mmrank.outputs import InputError, exit_code, log_progress
from pipelines.benchmarks.serving_latency import Timing, numbers_of, table, timed
from pipelines.benchmarks.serving_ways import Call, Lists

REST, IN_PROCESS = "REST /rank", "in process, steps"
MOST_MILLISECONDS = 2.0  # that the policy may add to the median
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.rerank_latency --data runs/quickstart-1/data \\
      --model runs/policy-10/export runs/policy-20/export

Each export has a policy; their pages may be of different sizes. Asks for the same lists with and
without "rerank" in turn, over REST and in process, so that a change of the machine's load meets
both. The server explores by pair_swap and logs the pages. No query is asked twice. Exit code 0: the
policy adds at most 2 ms to the median everywhere. Exit code 1: otherwise.
"""


@dataclasses.dataclass(frozen=True)
class Compared:
    """The requests of one way, with and without a policy.

    Attributes:
      page: Size of the policy's page.
      plain, reranked: Their latencies.
    """

    page: int
    plain: Timing
    reranked: Timing

    @property
    def added(self) -> float:
        """Milliseconds that the policy adds to the median."""
        return self.reranked.percentile(50) - self.plain.percentile(50)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 fast enough, 1 too slow, 2 for wrong input.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.rerank_latency",
        description="Measures what a policy that rearranges pages adds to the latency of /rank.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--model", required=True, nargs="+", type=path, help="folders of numbered exports"
    )
    parser.add_argument("--data", required=True, type=path, help="dataset that was exported")
    parser.add_argument("--candidates", type=int, default=100, help="per list (%(default)s)")
    parser.add_argument("--clients", default="1", help="concurrent clients (%(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="of each kind (%(default)s)")
    return parser


def _run(args: argparse.Namespace) -> int:
    clients = numbers_of("--clients", args.clients)
    found: list[Compared] = []
    for model in args.model:
        found += measure(model, args.data, args.candidates, clients, args.requests, args.rounds)
    print(report(found))
    return 0 if all(one.added <= MOST_MILLISECONDS for one in found) else 1


def measure(
    model: pathlib.Path,
    data: pathlib.Path,
    candidates: int,
    clients: Sequence[int],
    requests: int,
    rounds: int,
) -> list[Compared]:
    """Returns the measurements of one export; arguments as of the command.

    Raises:
      InputError: The export has no policy.
    """
    from mmrank.data.tables import load_dataset
    from mmrank.serving.card import read_card
    from mmrank.serving.rearranging import Rearranged
    from mmrank.serving.staged import StagedRanker
    from mmrank.serving.versions import version_folder, versions
    from pipelines.benchmarks.server_process import server_process

    folder = version_folder(model, versions(model)[-1])
    card = read_card(folder)
    if card.policy is None:
        raise InputError(f"--model {model}: the export has no policy; export the run with one")
    lists = Lists.draw(card, load_dataset(data), candidates, seed=candidates)
    staged = StagedRanker.load(folder)

    def here(reranked: bool) -> Call:
        policy = Rearranged() if reranked else None

        def call(number: int) -> None:
            ranked = staged.rank(candidates=lists.items, **lists.asked(number), rerank=policy)
            assert (ranked.page is not None) is reranked

        return call

    found = []
    with contextlib.ExitStack() as stack:
        temporary = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "monitoring.log_requests": "false",
            "rerank.exploration": "pair_swap",
            "log.folder": temporary / "pages",
        }
        server = stack.enter_context(server_process(model, settings, temporary / "log"))
        ways = {
            IN_PROCESS: {with_it: here(with_it) for with_it in (False, True)},
            REST: {with_it: over_rest(server.rest, lists, with_it) for with_it in (False, True)},
        }
        counter = itertools.count()
        cases = [(way, count) for way in ways for count in clients]
        bar = stack.enter_context(
            tqdm(total=len(cases) * rounds, desc="rounds", disable=None, leave=False)
        )
        for way, count in cases:
            seconds: dict[bool, list[float]] = {False: [], True: []}
            walls = {False: 0.0, True: 0.0}
            for number in range(rounds):
                # Each kind is the first in every second round.
                for with_it in (False, True) if number % 2 else (True, False):
                    one = timed(way, ways[way][with_it], candidates, count, requests, counter)
                    seconds[with_it] += one.seconds
                    walls[with_it] += one.wall
                bar.update()
            plain, reranked = (
                Timing(f"{way}{', rerank' * kind}", candidates, count, seconds[kind], walls[kind])
                for kind in (False, True)
            )
            found.append(Compared(card.policy.size, plain, reranked))
    return found


def over_rest(address: str, lists: Lists, reranked: bool) -> Call:
    """POST /rank with or without `rerank`, with a separate connection per thread."""
    import orjson

    threads = threading.local()
    more: dict[str, Any] = {"rerank": True} if reranked else {}

    def call(number: int) -> None:
        if not hasattr(threads, "connection"):
            threads.connection = http.client.HTTPConnection(address, timeout=60)
        asked = lists.asked(number) | {"candidates": lists.items} | more
        threads.connection.request("POST", "/rank", orjson.dumps(asked))
        with threads.connection.getresponse() as reply:
            answer = orjson.loads(reply.read())
        if reply.status != 200 or answer.get("policy", "none") != ("on" if reranked else "none"):
            raise RuntimeError(f"/rank: {reply.status}: {answer}")

    return call


def report(found: Sequence[Compared]) -> str:
    """Returns the figures as lines of text: latencies, then what the policies add."""
    lines = []
    for page in sorted({one.page for one in found}):
        timings = [t for one in found if one.page == page for t in (one.plain, one.reranked)]
        lines += [f"pages of {page}", table(timings), ""]
    for one in found:
        passed = "passed" if one.added <= MOST_MILLISECONDS else "FAILED"
        lines.append(
            f"{passed}  pages of {one.page}, {one.plain.way}, {one.plain.clients} clients: the "
            f"policy adds {one.added:.2f} ms, at most {MOST_MILLISECONDS:g}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
