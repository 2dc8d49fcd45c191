"""Thousands of hostile requests: `python -m pipelines.benchmarks.hostile_requests --model DIR`."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from mmrank.outputs import UserError, exit_code, log_progress

if TYPE_CHECKING:
    from pipelines.benchmarks.hostile.sending import Answer

EXAMPLE = """example:
  python -m pipelines.benchmarks.hostile_requests --model runs/quickstart-1/export

Starts `python -m mmrank.serve` on the loopback address with API keys, sends it malformed JSON,
wrong types, NaN, huge and empty lists, wrong shapes, absurd images, bad keys and what is small but
costly over REST and gRPC, and good requests in between. /healthz is asked beside, to tell how long
the server stood still. The exit code is 1 unless each is refused with a 4xx, or a gRPC code
of the client's own fault, and a message; no 5xx is sent; and every good request is answered. Same
seed, same requests.
"""
MOST_CANDIDATES, MOST_BYTES = 300, 1 << 20
MOST_MEGABYTES, MOST_FILES = 24, 50
CLIENTS = 4
EVERY = 100  # a good request after so many hostile ones
_LISTENS = re.compile(r"REST on (http://[^/]+)/v1.*?gRPC on ([0-9.:]+)")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 all refused well, 1 some not, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.hostile_requests",
        description="Sends requests that a server has to refuse.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--requests", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--kind", help="only requests whose kind holds this text")
    return parser


def _run(args: argparse.Namespace) -> int:
    from mmrank.serving.versions import versions

    if not args.model.is_dir() or not versions(args.model):
        raise UserError(f"--model {args.model}: no numbered export; make one with mmrank.export")
    folder = args.model / str(versions(args.model)[-1])
    with (
        tempfile.TemporaryDirectory() as keys,
        _server(args.model, pathlib.Path(keys)) as (
            process,
            target_of,
        ),
    ):
        from pipelines.benchmarks.hostile.probe import Probe, forget_peak, peak_megabytes
        from pipelines.benchmarks.hostile.sending import Sender

        target = target_of(folder)
        sender = Sender(target)
        before = _megabytes(process.pid)
        forget_peak(process.pid)
        with Probe(target.rest) as probe:
            answers, good, seconds = _send(sender, args)
        peak = peak_megabytes(process.pid) if process.poll() is None else 0.0
        alive = process.poll() is None
        after = _megabytes(process.pid) if alive else 0.0
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    code = _report(answers, good, seconds, (before, after), alive, ended)
    print(f"its memory was {peak:.0f} MB at most; {probe.told()}")
    return code


def _send(sender: Any, args: argparse.Namespace) -> tuple[list[Answer], list[str], float]:
    """Answers to the hostile requests, what was wrong with the good ones, and seconds."""
    started = time.monotonic()
    chosen = (random.Random(f"{args.seed} {n}") for n in range(args.requests))
    made = filter(None, (sender.make(rng, args.kind) for rng in chosen))
    answers: list[Answer] = []
    good = sender.good()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        bar = tqdm(total=args.requests, desc="hostile requests", disable=None)
        while batch := list(itertools.islice(made, EVERY)):
            answers += pool.map(sender.send, batch)
            good += sender.good()
            bar.update(len(batch))
        bar.close()
    return answers, good, time.monotonic() - started


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
        told = ", ".join(f"{code} × {count}" for code, count in codes)
        print(f"{kind:28}{len(of_kind):9,d}{faults:8,d}  {told}")
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
        f"{len(answers):,} hostile requests in {seconds:.0f} s: {len(bad):,} answered badly; "
        f"{len(good):,} good requests failed; the server "
        + ("still answers" if alive and not good else "does not answer")
        + f", its memory went from {megabytes[0]:.0f} to {megabytes[1]:.0f} MB, and SIGTERM ended "
        f"it with {ended}"
    )
    return 0 if answers and not bad and not good and alive and ended == 0 else 1


@contextlib.contextmanager
def _server(model: pathlib.Path, folder: pathlib.Path) -> Iterator[tuple[Any, Any]]:
    """A server's process, and what makes its target of a version's folder."""
    from mmrank.server.guard.keys import make_key, revoke_key
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
        "limits.candidates": MOST_CANDIDATES,
        "limits.request_bytes": MOST_BYTES,
        "limits.request_megabytes": MOST_MEGABYTES,
        "limits.request_files": MOST_FILES,
        "limits.failures": "100000/minute",
        "monitoring.log_requests": "false",
    }
    command = [sys.executable, "-m", "mmrank.serve", "--model", str(model)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        rest, grpc = _addresses(process, log)

        def target_of(version: pathlib.Path) -> Any:
            return look_at(rest, grpc, version, keys, MOST_CANDIDATES, MOST_BYTES)

        yield process, target_of
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _show_errors(log)


def _addresses(process: Any, log: pathlib.Path) -> tuple[str, str]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return found[1], found[2]
        time.sleep(0.2)
    raise UserError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def _show_errors(log: pathlib.Path) -> None:
    """Prints what the server logged as an error, each kind once."""
    seen = set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
                seen.add(json.dumps({k: entry.get(k) for k in ("event", "exception")})[:1500])
    for text in sorted(seen)[:10]:
        print(f"  the server logged: {text}")


def _megabytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    sys.exit(main())
