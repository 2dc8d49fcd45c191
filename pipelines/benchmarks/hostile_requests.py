"""Thousands of hostile requests: `python -m pipelines.benchmarks.hostile_requests --model DIR`."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import math
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from mmrank.outputs import UserError, exit_code, log_progress

if TYPE_CHECKING:
    from pipelines.benchmarks.hostile.sending import Answer

EXAMPLE = """example:
  python -m pipelines.benchmarks.hostile_requests --model runs/quickstart-1/export
  python -m pipelines.benchmarks.hostile_requests --model runs/quickstart-1/export --large
  python -m pipelines.benchmarks.hostile_requests --model runs/quickstart-1/export --memory-gib 4

Starts `python -m mmrank.serve` on the loopback address with API keys, and sends it malformed JSON,
wrong types, NaN, huge and empty lists, wrong shapes, absurd images, bad keys and small but costly
requests over REST and gRPC, with good requests in between; with --large, requests as large as the
server allows. Requests to /healthz measure meanwhile how long the server blocks. The memory of the
server and of its decoding processes is measured in every round of the clients.

The exit code is 1 unless each is refused with a 4xx, or a gRPC code for a client error, and a
message; no 5xx is sent; every good request is answered; and memory stays within 1.5 times that at
rest plus what the round's requests may use by the server's limits. The same seed gives the same
requests.
"""
MOST_CANDIDATES, MOST_BYTES = 300, 1 << 20
MOST_MEGABYTES, MOST_FILES = 24, 50
DECODER_MEGABYTES = 300  # needed for 25 megapixels
EVERY = 100  # hostile requests per good request
START_SECONDS = 900  # enough for a busy machine
AT_REST = 1.5  # factor of the memory at rest that a round may have in addition to its requests'
_LISTENS = re.compile(r"REST on (http://[^/]+)/v1.*?gRPC on ([0-9.:]+)")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 all refused correctly, 1 some not, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.hostile_requests",
        description="Sends requests that a server must refuse.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--requests", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--kind", help="only requests whose kind contains this text")
    parser.add_argument(
        "--clients", type=int, default=4, help="parallel requests per round (%(default)s)"
    )
    parser.add_argument(
        "--large", action="store_true", help="requests as large as the server's own limits"
    )
    parser.add_argument(
        "--memory-gib",
        type=float,
        metavar="GIB",
        help="memory that the server and each decoding process may allocate (RLIMIT_DATA)",
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    from mmrank.serving.versions import versions

    if not args.model.is_dir() or not versions(args.model):
        raise UserError(f"--model {args.model}: no numbered export; make one with mmrank.export")
    folder = args.model / str(versions(args.model)[-1])
    with (
        tempfile.TemporaryDirectory() as keys,
        _server(args, pathlib.Path(keys)) as (process, target_of),
    ):
        from pipelines.benchmarks.hostile.memory import Tree
        from pipelines.benchmarks.hostile.probe import Probe
        from pipelines.benchmarks.hostile.sending import Sender

        target = target_of(folder)
        sender = Sender(target, args.large)
        tree = Tree(process.pid)
        rest = tree.resident()
        with Probe(target.rest) as probe:
            seen = Seen(rest, args.large, tree, probe)
            seconds = _send(sender, args, seen)
        alive = process.poll() is None
        after = tree.resident() if alive else 0.0
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    code = _report(seen.answers, seen.good, seconds, (rest, after), alive, ended)
    kept = seen.report()
    print(probe.report())
    return code if kept else 1


@dataclasses.dataclass
class Seen:
    """The results of all rounds.

    Attributes:
      rest: MiB of the server's processes before the first round.
      large: Whether the server has its own limits.
      tree, probe: Measure memory and blocking.
      answers: Answers to hostile requests.
      good: What was wrong with good requests.
      peak: Peak memory in MiB.
      over: MiB above the bound of its round, in the round with the largest such value.
      costliest: For each kind, the largest increase in MiB and the longest block of its rounds.
    """

    rest: float
    large: bool
    tree: Any
    probe: Any
    answers: list[Answer] = dataclasses.field(default_factory=list)
    good: list[str] = dataclasses.field(default_factory=list)
    peak: float = 0.0
    over: float = -math.inf
    costliest: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def turn(self, requests: Sequence[Any], send: Callable[[Any], Answer], pool: Any) -> None:
        """Sends some requests in parallel, and measures."""
        self.tree.forget()
        self.probe.longest()
        before = self.tree.resident()
        self.answers += pool.map(send, requests)
        peak, stall = self.tree.peak(), self.probe.longest()
        self.peak = max(self.peak, peak)
        self.over = max(self.over, peak - AT_REST * self.rest - sum(map(self.budget, requests)))
        for kind in {r.kind for r in requests}:
            most = self.costliest.get(kind, (0.0, 0.0))
            self.costliest[kind] = (max(most[0], peak - before), max(most[1], stall))

    def budget(self, request: Any) -> float:
        """MiB that a request may use by the server's limits, for its values and its files."""
        from mmrank.server.guard.options import Limits

        values = Limits().request_megabytes if self.large else MOST_MEGABYTES
        return values + DECODER_MEGABYTES * min(request.files, MOST_FILES)

    def report(self) -> bool:
        """Prints the memory; returns whether it stayed within bounds."""
        for what, number, unit in (("memory", 0, 1), ("wait", 1, 1000)):
            worst = sorted(self.costliest.items(), key=lambda kind: -kind[1][number])[:5]
            worst_kinds = (f"{kind} {unit * costs[number]:,.0f}" for kind, costs in worst)
            print(
                f"most {what} in a round ({'MiB' if unit == 1 else 'ms'}): {', '.join(worst_kinds)}"
            )
        held = self.over <= 0
        print(
            f"memory: {self.rest:,.0f} MiB at rest, {self.peak:,.0f} at most, "
            f"{abs(self.over):,.0f} {'below' if held else 'ABOVE'} the bound in the nearest round"
        )
        return held


def _send(sender: Any, args: argparse.Namespace, seen: Seen) -> float:
    """Sends all requests and returns the seconds they took."""
    started = time.monotonic()
    chosen = ((n, random.Random(f"{args.seed} {n}")) for n in range(args.requests))
    made = filter(None, (sender.make(n, rng, args.kind) for n, rng in chosen))
    seen.good += sender.good()
    with concurrent.futures.ThreadPoolExecutor(args.clients) as pool:
        bar = tqdm(total=args.requests, desc="hostile requests", disable=None)
        while turn := list(itertools.islice(made, args.clients)):
            before = len(seen.answers)
            seen.turn(turn, sender.send, pool)
            if before // EVERY < len(seen.answers) // EVERY:
                seen.good += sender.good()
            bar.update(len(turn))
        bar.close()
    return time.monotonic() - started


def _report(
    answers: Sequence[Answer],
    good: Sequence[str],
    seconds: float,
    megabytes: tuple[float, float],
    alive: bool,
    ended: int,
) -> int:
    kinds = sorted({a.kind for a in answers})
    print(f"{'kind':28}{'requests':>9}{'faults':>8}  codes")
    for kind in kinds:
        of_kind = [a for a in answers if a.kind == kind]
        codes = collections.Counter(a.code for a in of_kind).most_common()
        faults = sum(a.fault is not None for a in of_kind)
        text = ", ".join(f"{code} × {count}" for code, count in codes)
        print(f"{kind:28}{len(of_kind):9,d}{faults:8,d}  {text}")
    bad = [a for a in answers if a.fault is not None]
    shown: set[tuple[str, str, str]] = set()
    for answer in bad:
        key = (answer.kind, answer.code, answer.message[:40])
        if key not in shown and len(shown) < 40:
            shown.add(key)
            print(f"  {answer.kind}: {answer.code}: {answer.fault}: {answer.message[:300]!r}")
    for problem in sorted(set(good)):
        print(f"  a good request: {problem}")
    print(
        f"{len(answers):,} hostile requests in {seconds:.0f} s: {len(bad):,} answered wrongly; "
        f"{len(good):,} good requests failed; the server "
        + ("still answers" if alive and not good else "does not answer")
        + f", its memory went from {megabytes[0]:.0f} to {megabytes[1]:.0f} MiB, and SIGTERM ended "
        f"it with {ended}"
    )
    return 0 if answers and not bad and not good and alive and ended == 0 else 1


@contextlib.contextmanager
def _server(args: argparse.Namespace, folder: pathlib.Path) -> Iterator[tuple[Any, Any]]:
    """A server's process, and the function that makes its target from a version's folder."""
    from mmrank.server.guard.keys import make_key, revoke_key
    from mmrank.server.guard.options import Limits
    from pipelines.benchmarks.hostile.bodies import EXPLAINED
    from pipelines.benchmarks.hostile.target import look_at

    file = folder / "keys.json"
    roles = {"rank": "rank", "metrics": "metrics", "admin": "admin", "revoked": "rank"}
    keys = {name: make_key(file, name, [role]) for name, role in roles.items()}
    revoke_key(file, keys["revoked"].split("_")[1])
    settings = {
        "listen.rest_port": 0,
        "listen.grpc_port": 0,
        "security.keys": file,
        "security.audit": folder / "audit.jsonl",
        "log.folder": folder / "pages",
        "limits.failures": "100000/minute",
        "monitoring.log_requests": "false",
        "rank.explained": EXPLAINED,
        "rank.decoder_megabytes": DECODER_MEGABYTES,
    }
    most, size = Limits().candidates, Limits().request_bytes
    if not args.large:
        most, size = MOST_CANDIDATES, MOST_BYTES
        settings |= {
            "limits.candidates": most,
            "limits.request_bytes": size,
            "limits.request_megabytes": MOST_MEGABYTES,
            "limits.request_files": MOST_FILES,
        }
    command = [sys.executable, "-m", "mmrank.serve", "--model", str(args.model)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    if args.memory_gib is not None:  # before it allocates much
        most_bytes = int(args.memory_gib * 2**30)
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))
    try:
        rest, grpc = _addresses(process, log)

        def target_of(version: pathlib.Path) -> Any:
            return look_at(rest, grpc, version, keys, most, size)

        yield process, target_of
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _show_errors(log)


def _addresses(process: Any, log: pathlib.Path) -> tuple[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return found[1], found[2]
        time.sleep(0.2)
    raise UserError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def _show_errors(log: pathlib.Path) -> None:
    """Prints the errors in the server's log, each kind once."""
    seen = set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
                seen.add(json.dumps({k: entry.get(k) for k in ("event", "exception")})[:1500])
    for text in sorted(seen)[:10]:
        print(f"  the server logged: {text}")


if __name__ == "__main__":
    sys.exit(main())
