"""Command line: the quality of a run as a modality goes missing from more and more items."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence

from mmrank.data.run_state import check_run_folder
from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError
from mmrank.data.validation import checked_dataset
from mmrank.outputs import check_target, exit_code, log_progress, require_extra, write_whole

EXAMPLE = """example:
  python -m mmrank.missing --run runs/fashion --against runs/text --modality photo \\
      --plot photo-missing.png

Removes the modality from 0, 25, 50, 75 and 100% of the test items that have it, from the same items
for every run, and prints NDCG@10 with bootstrap intervals. Compare with a run that was trained
without the modality.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.missing",
        description="Measures how NDCG@10 of runs falls as a modality goes missing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, type=pathlib.Path, help="folder of a trained run")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=pathlib.Path,
        metavar="RUN",
        help="another run on the same lists; may be repeated",
    )
    parser.add_argument("--modality", required=True, help="the item feature that goes missing")
    parser.add_argument(
        "--shares",
        default="0,25,50,75,100",
        help="percentages of the items that lose it, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--data", type=pathlib.Path, help="folder of a prepared dataset (default: the run's own)"
    )
    parser.add_argument(
        "--split",
        default="test",
        choices=(*reversed(SPLITS), "all"),
        help="the lists that are scored (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the order in which items lose it (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="also plot the figures: .png, .svg or .pdf",
    )
    parser.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="also write the figures as JSON"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    return parser


def _run(args: argparse.Namespace) -> int:
    shares = _shares(args.shares)
    for flag, file in (("--plot", args.plot), ("--json", args.json)):
        if file is not None:
            check_target(flag, file, args.force)
    if args.plot is not None:
        if args.plot.suffix not in (".png", ".svg", ".pdf"):
            raise DataError(f"--plot: {args.plot}: end its name in .png, .svg or .pdf")
        require_extra("--plot", "matplotlib", "plots")
    folders = [args.run, *args.against]
    for folder in folders:
        check_run_folder(folder)

    from mmrank.evaluation.missing import missing_curve
    from mmrank.trained_run import load_run

    runs = {str(folder): load_run(folder) for folder in folders}
    first = runs[str(args.run)]
    if args.modality not in first.modalities:
        known = ", ".join(first.modalities)
        raise DataError(
            f"--modality: the run has no item feature {args.modality!r}; known: {known}"
        )
    folder = first.data if args.data is None else args.data
    read = {f.name: f for r in runs.values() for f in r.fitted.read}
    dataset = checked_dataset(folder, training=False, read=[*read.values()])
    rows = dataset.rows(args.split)
    if len(rows) == 0:
        raise DataError(f"{folder}: the split {args.split!r} has no rows; choose another --split")
    curve = missing_curve(runs, dataset, rows, args.modality, shares, args.seed)
    print(curve.to_text())
    if args.json is not None:
        about = {"data": str(folder), "split": args.split, "seed": args.seed}
        write_whole(args.json, json.dumps(about | dataclasses.asdict(curve), indent=2) + "\n")
    if args.plot is not None:
        curve.plot(args.plot)
        print(f"wrote {args.plot}", file=sys.stderr)
    return 0


def _shares(text: str) -> tuple[float, ...]:
    try:
        percents = sorted({float(part) for part in text.split(",")})
    except ValueError:
        percents = []
    if not percents or not all(0 <= p <= 100 for p in percents):
        raise DataError(f"--shares {text!r}: give percentages from 0 to 100, such as 0,50,100")
    return tuple(p / 100 for p in percents)


if __name__ == "__main__":
    sys.exit(main())
