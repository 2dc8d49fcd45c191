"""A server at 70% of its highest load while versions change and Redis fails, ten minutes long."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

from mmrank.outputs import InputError, exit_code, log_progress, require_extra
from mmrank.serving.card import CARD
from mmrank.serving.versions import versions
from pipelines.benchmarks.soak.load import Measured, closed_loop, highest_rate, open_loop
from pipelines.benchmarks.soak.processes import Redis, Server

SHARE, MOST_GROWTH, MOST_P99 = 0.7, 0.05, 500.0
# When what happens, as parts of the whole time.
CHANGES, OUTAGE = (0.2, 0.4, 0.7), (0.5, 0.6)
WARM, SETTLED = (0.1, 0.2), (0.9, 1.0)  # between which memory is compared
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.serving_soak --export runs/a/export --data runs/a/data --minutes 10

Starts a Redis and a server on free ports of loopback, finds the highest rate that is held for ten
seconds (nothing fails, p99 within 500 ms), and holds 70% of it. Of the requests 70% go to /rank,
15% each to rank_items over REST and gRPC. Exit code 0: none failed, and resident memory grew by at
most 5% from the second tenth to the last. Exit code 1: otherwise.
"""


@dataclasses.dataclass
class Watched:
    """What was seen beside the requests.

    Attributes:
      memory: Seconds since the beginning, and resident bytes.
      said: Lines of what happened, with the seconds.
    """

    memory: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    said: list[tuple[float, str]] = dataclasses.field(default_factory=list)

    def between(self, start: float, end: float) -> float:
        """Median of the resident bytes in an interval; NaN of nothing."""
        there = [m for t, m in self.memory if start <= t < end]
        return statistics.median(there) if there else float("nan")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 passed, 1 not, 2 for wrong input.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    for module in ("starlette", "uvicorn", "redis"):
        require_extra("serving_soak", module, "serving")
    export = newest_export(args.export)
    if not args.data.is_dir():
        raise InputError(f"--data: {args.data}: no such folder")
    with tempfile.TemporaryDirectory(prefix="mmrank-soak-") as name:
        folder = pathlib.Path(name)
        redis = Redis(folder, args.redis_server)
        # So few items in memory that most requests need Redis.
        few = "embeddings.cached_items=200"
        settings = [
            f"embeddings.redis={redis.url}",
            few,
            "monitoring.log_requests=false",
            *args.set,
        ]
        server = Server(export, folder, settings)
        try:
            redis.start()
            _fill(redis, export, args.data)
            server.add_version()
            server.start()
            passed = _measure(args, export, server, redis)
            status = server.stop()
            print(f"SIGTERM: exit status {status}")
            return 0 if passed and status == 0 else 1
        finally:
            server.stop()
            redis.kill()


def _measure(args: argparse.Namespace, export: pathlib.Path, server: Server, redis: Redis) -> bool:
    # The messages of gRPC bring TensorFlow, which takes seconds: wrong input is told before.
    from pipelines.benchmarks.soak.requests import Client, Requests

    requests = Requests(export, args.data, args.candidates, args.lists, args.seed)
    client = Client(requests, server.rest_port, server.grpc_port)
    try:
        rate = args.rate
        if rate is None:
            closed_loop(client.send, args.clients, args.probe)  # everything is met once
            start = closed_loop(client.send, args.clients, args.probe)
            print(f"{args.clients} clients one after the other: {start:.1f} requests/s")
            highest, tried = highest_rate(
                client.send, start, args.probe, args.workers, args.most_p99
            )
            for offered, slow, failed in tried:
                print(f"  {offered:8.1f}/s  p99 {slow:7.1f} ms  {failed} failed")
            rate = SHARE * highest
        seconds = args.minutes * 60
        print(f"{args.minutes:g} minutes at {rate:.1f} requests/s of {args.candidates} candidates")
        watched, stop = Watched(), threading.Event()
        events = threading.Thread(
            target=lambda: happen(watched, seconds, server, redis, stop), daemon=True
        )
        events.start()
        measured = open_loop(client.send, rate, seconds, args.workers)
        stop.set()
        events.join()
        return report(measured, watched, rate, seconds)
    finally:
        client.close()


def happen(
    watched: Watched, seconds: float, server: Server, redis: Redis, stop: threading.Event
) -> None:
    """Changes versions and fails Redis when it is time, and samples memory in between."""
    began = time.monotonic()
    states: dict[int, str] = {}

    def say(line: str) -> None:
        watched.said.append((time.monotonic() - began, line))
        print(f"  {watched.said[-1][0]:7.1f} s  {line}", flush=True)

    def change() -> None:
        say(f"version {server.add_version()} appears")

    def fail() -> None:
        redis.kill()
        say("Redis is killed")

    def mend() -> None:
        redis.start()
        say("Redis is back")

    due: list[tuple[float, Callable[[], None]]] = [(part * seconds, change) for part in CHANGES]
    due += [(OUTAGE[0] * seconds, fail), (OUTAGE[1] * seconds, mend)]
    due.sort(key=lambda event: event[0])
    while not stop.wait(max(0.2, seconds / 240)):
        now = time.monotonic() - began
        try:
            watched.memory.append((now, server.memory()))
            for number, state in server.states().items():
                if states.get(number, state) != state:
                    say(f"version {number}: {state}")
                states[number] = state
        except (OSError, ValueError) as error:
            say(f"no metrics: {error}")
        while due and now >= due[0][0]:
            due.pop(0)[1]()


def report(measured: Measured, watched: Watched, rate: float, seconds: float) -> bool:
    """Prints what was measured; whether it passed."""
    print(f"{'minute':>6}  {'requests':>8}  {'p50':>7}  {'p95':>7}  {'p99':>7}  failed  memory")
    step = min(60.0, seconds / 5)
    start = 0.0
    while start < seconds:
        part = measured.between(start, start + step)
        p50, p95, p99 = part.milliseconds(50, 95, 99)
        memory = watched.between(start, start + step) / 2**20
        failed = sum(part.failures.values())
        print(
            f"{start / 60:6.1f}  {len(part.outcomes):8}  {p50:7.1f}  {p95:7.1f}  {p99:7.1f}  "
            f"{failed:6}  {memory:.0f} MiB"
        )
        start += step
    before, after = (watched.between(a * seconds, b * seconds) for a, b in (WARM, SETTLED))
    growth = after / before - 1
    failures = measured.failures
    seen = sorted({o.reply.version for o in measured.outcomes} - {0})
    missed = sum(o.reply.store_away for o in measured.outcomes)
    done = len(measured.outcomes) - sum(failures.values())
    for error, count in failures.most_common(5):
        print(f"{count} × {error}")
    p50, p95, p99 = measured.milliseconds(50, 95, 99)
    print(f"{done} requests answered, {sum(failures.values())} failed; versions {seen} answered")
    print(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, from when each was due")
    print(f"{missed} answers while Redis was away")
    print(f"memory {before / 2**20:.0f} to {after / 2**20:.0f} MiB: {growth:+.1%}")
    checks = {
        "no request failed": not failures,
        f"at least 95% of {rate:.1f}/s": done >= 0.95 * rate * seconds,
        f"memory grew by at most {MOST_GROWTH:.0%}": growth <= MOST_GROWTH,
        f"{len(CHANGES)} version changes": len(seen) == len(CHANGES) + 1,
        "the outage was met": missed > 0,
    }
    for words, held in checks.items():
        print(f"{'ok    ' if held else 'FAILED'}  {words}")
    return all(checks.values())


def newest_export(path: pathlib.Path) -> pathlib.Path:
    """An export, or the newest in a folder of numbered ones.

    Raises:
      InputError: There is none.
    """
    if path.is_dir():
        for folder in (path, *(path / str(n) for n in reversed(versions(path)))):
            if (folder / CARD).is_file():
                return folder
    raise InputError(f"--export: {path}: no export of mmrank there")


def _fill(redis: Redis, export: pathlib.Path, data: pathlib.Path) -> None:
    """Loads the export's vectors into Redis, in a process of its own."""
    arguments = ["--redis", redis.url, "--export", str(export), "--data", str(data)]
    subprocess.run([sys.executable, "-m", "pipelines.load_redis", *arguments], check=True)
    redis.save()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.serving_soak",
        description="Holds 70% of a server's highest load while versions change and Redis fails.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path, whole = pathlib.Path, int
    parser.add_argument("--export", type=path, required=True, help="an export, or their folder")
    parser.add_argument("--data", type=path, required=True, help="the dataset it was made of")
    parser.add_argument("--minutes", type=float, default=10.0, help="time under load (%(default)s)")
    parser.add_argument("--rate", type=float, help="requests/s, in place of 70%% of the highest")
    parser.add_argument("--candidates", type=whole, default=100, help="of a list (%(default)s)")
    parser.add_argument("--lists", type=whole, default=200, help="different lists (%(default)s)")
    parser.add_argument("--clients", type=whole, default=8, help="for the search (%(default)s)")
    parser.add_argument("--workers", type=whole, default=32, help="in flight at most (%(default)s)")
    parser.add_argument("--probe", type=float, default=10.0, help="seconds of a try (%(default)s)")
    parser.add_argument(
        "--most-p99", type=float, default=MOST_P99, help="ms at a held rate (%(default)s)"
    )
    parser.add_argument("--redis-server", default="redis-server", help="the program to start")
    parser.add_argument("--seed", type=whole, default=0, help="of the draws (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="of the server's config"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
