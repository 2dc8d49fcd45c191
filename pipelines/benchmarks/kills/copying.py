"""Copies a folder file by file in place, like `cp -r`, but slowly."""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import sys
import time
from collections.abc import Sequence

from mmrank.outputs import exit_code
from mmrank.serving.checksums import CHECKSUMS

AS_LISTED, LIST_FIRST, LIST_LAST, SHUFFLED = ORDERS = (
    "as-listed",
    "list-first",
    "list-last",
    "shuffled",
)
PIECES = 4  # writes per file, with a pause after each
EXAMPLE = """example:
  python -m pipelines.benchmarks.kills.copying --source export/1 --target models/2
"""


def files_in_order(source: pathlib.Path, order: str, seed: int = 0) -> list[pathlib.PurePath]:
    """The files of an export by their relative paths, in the order in which they are copied."""
    names = [
        pathlib.Path(parent, name).relative_to(source)
        for parent, _, files in os.walk(source)
        for name in files
    ]
    if order == SHUFFLED:
        random.Random(seed).shuffle(names)
    elif order in (LIST_FIRST, LIST_LAST):
        last = order == LIST_LAST
        names.sort(key=lambda name: (name == CHECKSUMS) == last)
    return list(names)


def copy(
    source: pathlib.Path, target: pathlib.Path, order: str, seconds: float, seed: int = 0
) -> None:
    """Copies a folder in about the given seconds, with equal time for every file."""
    names = files_in_order(source, order, seed)
    pause = seconds / (len(names) * PIECES)
    target.mkdir()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        data = (source / name).read_bytes()
        with (target / name).open("wb") as stream:
            for piece in range(PIECES):
                start, end = (len(data) * p // PIECES for p in (piece, piece + 1))
                stream.write(data[start:end])
                stream.flush()
                time.sleep(pause)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.benchmarks.kills.copying",
        description="Copies a folder slowly, so that it can be killed in the middle.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("--source", type=path, required=True, help="folder to copy")
    parser.add_argument("--target", type=path, required=True, help="new folder")
    parser.add_argument("--order", choices=ORDERS, default=AS_LISTED, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="total time (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffled order (%(default)s)")
    args = parser.parse_args(argv)
    return exit_code(lambda: copy(args.source, args.target, args.order, args.seconds, args.seed))


if __name__ == "__main__":
    sys.exit(main())
