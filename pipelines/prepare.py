"""A prepared dataset of any published source: `python -m pipelines.prepare NAME`."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from mmrank.config import apply_override
from mmrank.outputs import exit_code
from pipelines.preparers import PREPARERS

EXAMPLE = """\
examples:
  python -m pipelines.prepare fashion --source data/fashion --out prepared --set seed=1
  python -m pipelines.prepare spoken_digits --source data/digits --out prepared --set speaker=theo

Each source has a command of its own as well, such as `python -m pipelines.prepare_fashion`, which
describes its files and options.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare",
        description="Makes a prepared dataset of a published source.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(PREPARERS)}")
    parser.add_argument("--source", type=path, required=True, metavar="DIR", help="the source")
    parser.add_argument(
        "--out", type=path, required=True, metavar="DIR", help="new folder for the dataset"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="set an option of the dataset; may be repeated",
    )
    args = parser.parse_args(argv)

    def prepare() -> None:
        options: dict[str, Any] = {}
        for override in args.set:
            apply_override(options, override)
        PREPARERS.make(args.name, options)(args.source, args.out)

    return exit_code(prepare)


if __name__ == "__main__":
    sys.exit(main())
