"""Command line: estimates the examination propensity of each position from a log of clicks."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError
from mmrank.outputs import check_target, exit_code, log_progress, require_extra
from mmrank.propensity import METHODS

EXAMPLE = """example:
  python -m mmrank.simulate --out data/shop --items 600 --queries 20000
  python -m mmrank.propensity --data data/shop --method harvest --positions 15 \\
      --out propensities.csv --plot propensities.png
  python -m mmrank.propensity --log pages/ --out propensities.csv

The schema of the dataset must have the labels `position` (from 1) and `click`.
methods:
  harvest        query–item pairs seen at two positions or more; the first to try
  em             the same by expectation maximisation, on pairs seen at four or more
  regression_em  relevance predicted from numbers and categories; no pair needs to recur
  random         pages in random order, marked by the column --randomised, or by the --log
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments; by default those of the process.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.propensity",
        description="Estimates from a log of clicks how likely users look at each position.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=pathlib.Path, help="folder of a prepared dataset")
    source.add_argument(
        "--log", type=pathlib.Path, help="folder of a server's log of shown pages, read as it is"
    )
    parser.add_argument("--method", default="harvest", help=f"one of {', '.join(METHODS)}")
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="FILE", help="the table to write, .csv"
    )
    parser.add_argument(
        "--plot", type=pathlib.Path, metavar="FILE", help="also draw it: .png, .svg or .pdf"
    )
    parser.add_argument(
        "--positions", type=int, metavar="N", help="only the first N positions (default: all)"
    )
    parser.add_argument(
        "--randomised",
        metavar="COLUMN",
        help="column of the lists that is above 0 where the order was random (method random)",
    )
    parser.add_argument(
        "--split", choices=(*SPLITS, "all"), help="split of --data (default: train)"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=100,
        metavar="N",
        help="bootstrap resamples of the lists for the intervals (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the resamples (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    return parser


def _run(args: argparse.Namespace) -> int:
    for flag, file in (("--out", args.out), ("--plot", args.plot)):
        if file is not None:
            check_target(flag, file, args.force)
    if args.out.suffix != ".csv":
        raise DataError(f"--out: {args.out}: end its name in .csv")
    if args.plot is not None:
        if args.plot.suffix not in (".png", ".svg", ".pdf"):
            raise DataError(f"--plot: {args.plot}: end its name in .png, .svg or .pdf")
        require_extra("--plot", "matplotlib", "plots")
    for flag, value, least in (
        ("--positions", args.positions, 2),
        ("--resamples", args.resamples, 1),
    ):
        if value is not None and value < least:
            raise DataError(f"{flag} {value}: must be at least {least}")

    for flag, given in (("--split", args.split), ("--randomised", args.randomised)):
        if args.log is not None and given is not None:
            raise DataError(f"{flag} {given}: is for --data; a log of shown pages needs none")

    from mmrank.propensity.estimate import estimate
    from mmrank.propensity.log import read_log
    from mmrank.propensity.plot import plot_propensities
    from mmrank.propensity.shown_pages import read_shown_pages
    from mmrank.propensity.table import write_propensities

    log = (
        read_shown_pages(args.log, positions=args.positions)
        if args.log is not None
        else read_log(
            args.data,
            split=args.split or "train",
            positions=args.positions,
            randomised=args.randomised,
        )
    )
    found = estimate(log, args.method, resamples=args.resamples, seed=args.seed)
    print(found.to_text())
    write_propensities(args.out, found)
    if args.plot is not None:
        plot_propensities(args.plot, [found])
    print(
        f"wrote {args.out}. To weight clicks by it: training.tasks with position_bias: {{name: "
        f"ipw, propensities: {args.out}}}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
