"""The latency of one request in every way: `python -m pipelines.benchmarks.serving_latency`."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from mmrank.data.tables import load_dataset
from mmrank.outputs import (
    InputError,
    check_target,
    exit_code,
    log_progress,
    require_extra,
    write_whole,
)

if TYPE_CHECKING:
    from pipelines.benchmarks.serving_ways import Call

FASTER, ADDED_MS = 20.0, 3.0
WARM_UP, ENCODINGS = 10, 5
FEWEST = 20  # least requests for a 95th percentile
EXAMPLE = """\
example:
  python -m mmrank.export --run runs/quickstart-1
  python -m pipelines.benchmarks.serving_latency --model runs/quickstart-1/export \\
      --data runs/quickstart-1/data

No query is repeated, so that every request encodes its own. Exit code 0: with one client, looking
up vectors is 20 times as fast as encoding raw features, and the server adds at most 3 ms to the
median. Exit code 1: otherwise. LightGBM reads the numbers of items and pairs, BM25 and popularity,
and is trained on the dataset's training lists; install it with pip install -e '.[benchmarks]'.
"""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of one way.

    Attributes:
      way: Name of the way.
      candidates: Length of the lists.
      clients: Number of parallel client threads.
      seconds: Seconds of each request.
      wall: Seconds of all requests together.
    """

    way: str
    candidates: int
    clients: int
    seconds: Sequence[float]
    wall: float

    def percentile(self, percent: float) -> float:
        """The given percentile of the requests' time, in milliseconds."""
        return 1e3 * float(np.percentile(self.seconds, percent))

    def percentiles(self) -> dict[int, float | None]:
        """The 50th, 95th and 99th percentile; the last two are None for few requests."""
        enough = len(self.seconds) >= FEWEST
        return {p: self.percentile(p) if enough or p == 50 else None for p in (50, 95, 99)}

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.seconds) / self.wall


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One comparison that decides the exit code.

    Attributes:
      what: Description of the comparison.
      value, wanted: The measured value and its bound.
      passed: Whether the value is within the bound.
    """

    what: str
    value: float
    wanted: str
    passed: bool


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code, see `EXAMPLE`; 2 for wrong input, 130 stopped."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.serving_latency",
        description="Measures one request through REST, gRPC and in process, with vectors looked "
        "up and with raw features encoded, and LightGBM for comparison.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", required=True, type=pathlib.Path, help="folder of numbered exports"
    )
    parser.add_argument(
        "--data", required=True, type=pathlib.Path, help="dataset that was exported"
    )
    parser.add_argument("--sizes", default="100,500,1000", help="candidates per list (%(default)s)")
    parser.add_argument("--clients", default="1,8", help="parallel clients (%(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="requests per way (%(default)s)")
    parser.add_argument(
        "--encodings", type=int, default=10, help="requests with raw features (%(default)s)"
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write figures as JSON")
    parser.add_argument("--force", action="store_true", help="let --json replace a file")
    return parser


def _run(args: argparse.Namespace) -> int:
    require_extra("this benchmark", "lightgbm", "benchmarks")
    sizes, clients = numbers_of("--sizes", args.sizes), numbers_of("--clients", args.clients)
    if args.json is not None:
        check_target("--json", args.json, args.force)
    timings = measure(args.model, args.data, sizes, clients, args.requests, args.encodings)
    print(table(timings))
    verdicts = judge(timings)
    for v in verdicts:
        print(f"{'passed' if v.passed else 'FAILED'}  {v.what}: {v.value:.1f} (bound {v.wanted})")
    if args.json is not None:
        plain = [
            {
                "way": t.way,
                "candidates": t.candidates,
                "clients": t.clients,
                "requests_per_second": t.rate,
                **{f"p{p}_ms": value for p, value in t.percentiles().items()},
            }
            for t in timings
        ]
        write_whole(args.json, json.dumps(plain, indent=2) + "\n")
    return 0 if all(v.passed for v in verdicts) else 1


def numbers_of(flag: str, text: str) -> list[int]:
    """Returns the numbers in an argument.

    Raises:
      InputError: They are not whole numbers of at least 1, joined by commas.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InputError(f"{flag} {text!r}: must be comma-separated integers of at least 1")
    return numbers


def measure(
    model: pathlib.Path,
    data: pathlib.Path,
    sizes: Sequence[int],
    clients: Sequence[int],
    requests: int,
    encodings: int,
) -> list[Timing]:
    """Times every way, size and number of clients; the arguments are those of the command."""
    from mmrank.serving.ranker import Ranker
    from mmrank.serving.staged import StagedRanker
    from pipelines.benchmarks import serving_ways as ways
    from pipelines.benchmarks.server_process import server_process
    from pipelines.benchmarks.serving_trees import trees

    ranker, dataset = Ranker.load(model), load_dataset(data)
    lists = {n: ways.Lists.draw(ranker.card, dataset, n, seed=n) for n in sizes}
    forest = trees(ranker.card, dataset)
    timings: list[Timing] = []
    numbers = itertools.count()
    total = len(sizes) * len(clients) * 6
    with tempfile.TemporaryDirectory(prefix="mmrank-latency-") as name:
        bar = tqdm(total=total, desc="ways timed", disable=None, leave=False)
        log = pathlib.Path(name) / "log"
        # The server first, while no model runs in this process.
        with bar, server_process(model, {"monitoring.log_requests": "false"}, log) as server:
            for size, count in itertools.product(sizes, clients):
                for way, call in (
                    (ways.REST, ways.over_rest(server.rest, lists[size])),
                    (ways.GRPC, ways.over_grpc(server.grpc, "ranker", lists[size])),
                ):
                    timings.append(timed(way, call, size, count, requests, numbers))
                    bar.update()
        staged = StagedRanker.load(model)
        for size in sizes:
            calls = ways.in_process(ranker, staged, lists[size], ENCODINGS)
            calls[ways.TREES] = forest(size)
            for (way, call), count in itertools.product(calls.items(), clients):
                many = encodings if way == ways.ENCODED else requests
                timings.append(timed(way, call, size, count, many, numbers))
                bar.update()
    return timings


def timed(
    way: str, call: Call, size: int, clients: int, requests: int, numbers: itertools.count[int]
) -> Timing:
    """Times requests by several threads, after a few that are not counted.

    Args:
      way, size, clients: See `Timing`.
      call: Sends the request with the given number.
      requests: Number of requests.
      numbers: Numbers of the requests that are not sent yet.
    """

    def one(number: int) -> float:
        started = time.perf_counter()
        call(number)
        return time.perf_counter() - started

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        warm = min(WARM_UP, requests) * clients
        list(pool.map(one, itertools.islice(numbers, warm)))
        started = time.perf_counter()
        seconds = list(pool.map(one, itertools.islice(numbers, requests)))
        return Timing(way, size, clients, seconds, time.perf_counter() - started)


def table(timings: Sequence[Timing]) -> str:
    """The figures, a line per way, size and number of clients; - if there are too few requests."""
    lines = [
        f"{'':26}{'candidates':>10} {'clients':>7} {'p50':>9} {'p95':>9} {'p99':>9} {'1/s':>8}"
    ]
    for t in sorted(timings, key=lambda t: (t.clients, t.candidates, t.way)):
        figures = " ".join(
            f"{'-':>9}" if v is None else f"{v:7.1f}ms" for v in t.percentiles().values()
        )
        lines.append(f"{t.way:26}{t.candidates:10} {t.clients:7} {figures} {t.rate:8.1f}")
    return "\n".join(lines)


def judge(timings: Sequence[Timing]) -> list[Verdict]:
    """The requirements for one client's medians, at every size."""
    from pipelines.benchmarks.serving_ways import ENCODED, GRPC, LOOKED_UP, REST, STEPS

    by: Mapping[tuple[str, int], float] = {
        (t.way, t.candidates): t.percentile(50) for t in timings if t.clients == 1
    }
    verdicts = []
    for size in sorted({size for _, size in by}):
        for way in (LOOKED_UP, STEPS):
            ratio = by[ENCODED, size] / by[way, size]
            what = f"{size} candidates, times faster than encoding: {way}"
            verdicts.append(Verdict(what, ratio, f"{FASTER:g} or more", ratio >= FASTER))
        for served, inside in ((REST, STEPS), (GRPC, LOOKED_UP)):
            added = by[served, size] - by[inside, size]
            what = f"{size} candidates, ms added to '{inside}' by {served}"
            verdicts.append(Verdict(what, added, f"{ADDED_MS:g} at most", added <= ADDED_MS))
    return verdicts


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
