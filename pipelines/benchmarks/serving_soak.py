"""A server at 70% of its highest load while versions change, Redis fails, clients misbehave."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

from mmrank.outputs import InputError, exit_code, log_progress, require_extra
from mmrank.server.machine import JEMALLOC
from mmrank.serving.card import CARD
from mmrank.serving.versions import versions
from pipelines.benchmarks.soak.load import Measured, closed_loop, highest_rate, open_loop
from pipelines.benchmarks.soak.nuisances import FullDisk, SilentClients, SlowReaders
from pipelines.benchmarks.soak.processes import Redis, Server

SHARE, MOST_P99 = 0.7, 500.0
MOST_GROWTH = {"glibc": 0.3, "jemalloc": 0.05}  # of memory; glibc's allocator fragments it
# The times of events, as parts of the whole time.
CHANGES, OUTAGE = (0.2, 0.4, 0.7), (0.5, 0.6)
NUISANCES, FULL = (0.1, 0.9), (0.75, 0.85)
SLOW_READERS, SLOW_ITEMS = 4, 5_000
AUDIT = "audit.jsonl"
ALLOCATORS = {"glibc": "", "jemalloc": JEMALLOC}
WARM, SETTLED = (0.1, 0.2), (0.9, 1.0)  # intervals whose memory is compared
EXAMPLE = """\
example:
  python -m pipelines.benchmarks.serving_soak --export runs/a/export --data runs/a/data --minutes 10

Starts Redis and a server on free ports of the loopback address, finds the highest rate that is
held for ten seconds (nothing fails, p99 within 500 ms), and holds 70% of it. 70% of the requests go
to /rank, 15% each to rank_items over REST and gRPC. In addition there are --silent connections from
one address that send nothing, and four clients that each send eight requests for megabytes at once
and read slowly, until the server resets their connections after limits.request_seconds. For a tenth
of the time the audit log cannot grow, as on a full disk. Exit code 0: no good request failed, and
resident memory grew by at most 5% from the second tenth to the last (30% with glibc's allocator,
which fragments memory). Exit code 1: otherwise.
"""


@dataclasses.dataclass
class Watched:
    """Observations other than requests.

    Attributes:
      memory: Seconds since the start, and resident bytes.
      notes: Descriptions of events, with their seconds.
      held: Further requirements, and whether they hold.
    """

    memory: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    notes: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    held: dict[str, bool] = dataclasses.field(default_factory=dict)

    def between(self, start: float, end: float) -> float:
        """Median of the resident bytes in an interval; NaN without samples."""
        there = [m for t, m in self.memory if start <= t < end]
        return statistics.median(there) if there else float("nan")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 passed, 1 not, 2 for wrong input.

    Args:
      argv: The arguments; those of the process by default.
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
        # So few items are kept in memory that most requests need Redis.
        few = "embeddings.cached_items=200"
        settings = [
            f"embeddings.redis={redis.url}",
            few,
            "monitoring.log_requests=false",
            f"security.audit={folder / AUDIT}",
            "security.audit_failure=report",
            *args.set,
        ]
        server = Server(export, folder, settings, ALLOCATORS[args.allocator])
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
    # gRPC messages import TensorFlow, which takes seconds, so wrong input is reported first.
    from pipelines.benchmarks.soak.requests import Client, Requests

    requests = Requests(export, args.data, args.candidates, args.lists, args.seed)
    client = Client(requests, server.rest_port, server.grpc_port)
    try:
        rate = args.rate
        if rate is None:
            closed_loop(client.send, args.clients, args.probe)  # warms up every request
            start = closed_loop(client.send, args.clients, args.probe)
            print(f"{args.clients} clients without pauses: {start:.1f} requests/s")
            highest, tried = highest_rate(
                client.send, start, args.probe, args.workers, args.most_p99
            )
            for offered, slow, failed in tried:
                print(f"  {offered:8.1f}/s  p99 {slow:7.1f} ms  {failed} failed")
            rate = SHARE * highest
        seconds = args.minutes * 60
        print(f"{args.minutes:g} minutes at {rate:.1f} requests/s of {args.candidates} candidates")
        watched, stop = Watched(), threading.Event()
        nuisances = Nuisances(server, args.silent)
        events = threading.Thread(
            target=lambda: run_events(watched, seconds, server, redis, stop, nuisances), daemon=True
        )
        events.start()
        measured = open_loop(client.send, rate, seconds, args.workers)
        stop.set()
        events.join()
        watched.held |= nuisances.stop()
        return report(measured, watched, rate, seconds, MOST_GROWTH[args.allocator])
    finally:
        client.close()


class Nuisances:
    """Silent connections, slow readers and a full disk.

    Args:
      server: The server.
      silent: Number of connections that send nothing.
    """

    def __init__(self, server: Server, silent: int):
        self._silent = SilentClients(server.rest_port, silent)
        items = {"items": [f"P{n:06d}" for n in range(SLOW_ITEMS)]}
        body = json.dumps({"signature_name": "lookup_items", "inputs": items}).encode()
        path = "/v1/models/ranker:predict"
        self._slow = SlowReaders(server.rest_port, SLOW_READERS, path, body)
        self._disk = FullDisk(server.pid, server.base.parent / AUDIT)
        self._began = self._full = False

    def begin(self) -> str:
        """Starts silent clients and slow readers; returns a description."""
        self._began = True
        self._silent.start()
        self._slow.start()
        return f"{self._silent.count} silent connections and {SLOW_READERS} slow readers start"

    def end(self) -> str:
        """Ends them; returns a description."""
        self._silent.stop()
        self._slow.stop()
        slow = f"{self._slow.cut} of {self._slow.connections} connections of slow readers reset"
        return (
            f"they end: {self._silent.most} silent at once, {self._silent.closed:,} closed "
            f"by the server, {slow}"
        )

    def fill(self) -> str:
        """Makes the disk full; returns a description."""
        self._full = True
        self._disk.fill()
        return f"the audit log of {self._disk.lines:,} lines cannot grow"

    def free(self) -> str:
        """Makes space again; returns a description."""
        self._disk.free()
        return "the audit log can grow again"

    def stop(self) -> dict[str, bool]:
        """The requirements and whether they hold, after the end."""
        self._disk.free()
        if not (self._began and self._full):
            return {"silent clients, slow readers and a full disk occurred": False}
        lost = self._disk.lost()
        print(f"the audit log lost {lost:,} lines while it could not grow, and reports them")
        return {
            "silent connections were closed": self._silent.closed > 0,
            # The last connection of each was ended by the soak itself.
            "slow readers were disconnected": 0
            < self._slow.connections - SLOW_READERS
            <= self._slow.cut,
            "the audit log's chain is intact, and reports the lost lines": lost > 0
            and self._disk.whole(),
        }


def run_events(
    watched: Watched,
    seconds: float,
    server: Server,
    redis: Redis,
    stop: threading.Event,
    nuisances: Nuisances,
) -> None:
    """Triggers the events at their times, and samples memory in between."""
    began = time.monotonic()
    states: dict[int, str] = {}

    def note(line: str) -> None:
        watched.notes.append((time.monotonic() - began, line))
        print(f"  {watched.notes[-1][0]:7.1f} s  {line}", flush=True)

    def change() -> None:
        note(f"version {server.add_version()} appears")

    def fail() -> None:
        redis.kill()
        note("Redis is killed")

    def recover() -> None:
        redis.start()
        note("Redis is started again")

    due: list[tuple[float, Callable[[], None]]] = [(part * seconds, change) for part in CHANGES]
    due += [(OUTAGE[0] * seconds, fail), (OUTAGE[1] * seconds, recover)]
    due += [
        (NUISANCES[0] * seconds, lambda: note(nuisances.begin())),
        (NUISANCES[1] * seconds, lambda: note(nuisances.end())),
        (FULL[0] * seconds, lambda: note(nuisances.fill())),
        (FULL[1] * seconds, lambda: note(nuisances.free())),
    ]
    due.sort(key=lambda event: event[0])
    while not stop.wait(max(0.2, seconds / 240)):
        now = time.monotonic() - began
        try:
            watched.memory.append((now, server.memory()))
            for number, state in server.states().items():
                if states.get(number, state) != state:
                    note(f"version {number}: {state}")
                states[number] = state
        except (OSError, ValueError) as error:
            note(f"no metrics: {error}")
        while due and now >= due[0][0]:
            due.pop(0)[1]()


def report(
    measured: Measured, watched: Watched, rate: float, seconds: float, most_growth: float = 0.05
) -> bool:
    """Prints the measurements; returns whether the run passed."""
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
    print(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, from the time that each was due")
    print(f"{missed} answers while Redis was unavailable")
    print(f"memory {before / 2**20:.0f} to {after / 2**20:.0f} MiB: {growth:+.1%}")
    checks = {
        "no request failed": not failures,
        f"at least 95% of {rate:.1f}/s": done >= 0.95 * rate * seconds,
        f"memory grew by at most {most_growth:.0%}": growth <= most_growth,
        f"{len(CHANGES)} version changes": len(seen) == len(CHANGES) + 1,
        "requests met the outage": missed > 0,
        **watched.held,
    }
    for words, held in checks.items():
        print(f"{'ok    ' if held else 'FAILED'}  {words}")
    return all(checks.values())


def newest_export(path: pathlib.Path) -> pathlib.Path:
    """An export, or the newest in a folder of numbered exports.

    Raises:
      InputError: There is no export.
    """
    if path.is_dir():
        for folder in (path, *(path / str(n) for n in reversed(versions(path)))):
            if (folder / CARD).is_file():
                return folder
    raise InputError(f"--export: {path}: is not an export of mmrank")


def _fill(redis: Redis, export: pathlib.Path, data: pathlib.Path) -> None:
    """Loads the export's vectors into Redis, in a separate process."""
    arguments = ["--redis", redis.url, "--export", str(export), "--data", str(data)]
    subprocess.run([sys.executable, "-m", "pipelines.load_redis", *arguments], check=True)
    redis.save()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.serving_soak",
        description="Holds 70%% of a server's highest load while versions change, Redis fails and "
        "clients misbehave.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path, whole = pathlib.Path, int
    parser.add_argument("--export", type=path, required=True, help="export, or folder of exports")
    parser.add_argument("--data", type=path, required=True, help="dataset that was exported")
    parser.add_argument("--minutes", type=float, default=10.0, help="time under load (%(default)s)")
    parser.add_argument("--rate", type=float, help="requests/s, instead of 70%% of the highest")
    parser.add_argument("--candidates", type=whole, default=100, help="per list (%(default)s)")
    parser.add_argument("--lists", type=whole, default=200, help="different lists (%(default)s)")
    parser.add_argument("--clients", type=whole, default=8, help="for the search (%(default)s)")
    parser.add_argument("--workers", type=whole, default=32, help="most in flight (%(default)s)")
    parser.add_argument("--probe", type=float, default=10.0, help="seconds per try (%(default)s)")
    parser.add_argument(
        "--silent", type=whole, default=1000, help="connections that send nothing (%(default)s)"
    )
    parser.add_argument(
        "--allocator",
        choices=sorted(ALLOCATORS),
        default="glibc",
        help="allocator of the server (%(default)s)",
    )
    parser.add_argument(
        "--most-p99", type=float, default=MOST_P99, help="ms at a held rate (%(default)s)"
    )
    parser.add_argument("--redis-server", default="redis-server", help="program to start")
    parser.add_argument("--seed", type=whole, default=0, help="random seed (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="server config value"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
