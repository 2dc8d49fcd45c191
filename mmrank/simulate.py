"""Writes a simulated shop: `python -m mmrank.simulate --out DIR`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from tqdm import tqdm

from mmrank.data.simulator import simulate
from mmrank.outputs import exit_code

_EXAMPLE = """\
example:
  python -m mmrank.simulate --out data/shop --items 2000 --queries 3000 --users 500 --seed 0
  python -m mmrank.train --config configs/quickstart.yaml --data data/shop
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 a wrong argument, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return exit_code(lambda: _run(arguments), "no dataset was written; run the same command again")


def _run(arguments: argparse.Namespace) -> None:
    # The delay keeps an empty bar out of the output if an argument is wrong.
    files = 1 + (arguments.clips > 0) + (arguments.sounds > 0)
    total = max(arguments.queries, 0) + files * max(arguments.items, 0)
    with tqdm(total=total, unit="step", desc="pages and media", delay=0.5) as bar:
        summary = simulate(
            arguments.out,
            items=arguments.items,
            queries=arguments.queries,
            users=arguments.users,
            seed=arguments.seed,
            progress=bar.update,
            clips=arguments.clips,
            sounds=arguments.sounds,
            eta=arguments.eta,
            sales_weight=arguments.sales_weight,
            randomised=arguments.randomised,
            match=arguments.match,
            kind=arguments.kind,
        )
    print(f"{arguments.out}\n{summary}")
    print(f"next: python -m mmrank.train --config configs/quickstart.yaml --data {arguments.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.simulate",
        description="Writes a simulated shop as a prepared dataset: texts in Chinese and English, "
        "drawn photos, users with preferences, logged result pages with position bias.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument(
        "--items", type=int, default=2000, metavar="N", help="products (at least 60; default 2000)"
    )
    parser.add_argument(
        "--queries",
        type=int,
        default=3000,
        metavar="N",
        help="logged result pages, one list each, of about a third as many distinct queries "
        "(at least 10; default 3000)",
    )
    parser.add_argument(
        "--users", type=int, default=500, metavar="N", help="users (at least 1; default 500)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="same seed, same shop (default 0)"
    )
    parser.add_argument(
        "--clips",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the items with a clip; queries then ask for motions that only clips show "
        "(0 to 1; default 0: no clips)",
    )
    parser.add_argument(
        "--sounds",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the items with a recording; queries then ask for sounds that only "
        "recordings have (0 to 1; default 0: no sounds)",
    )
    parser.add_argument(
        "--eta",
        type=float,
        default=0.8,
        metavar="E",
        help="position k of a page is examined with probability k^-E (default 0.8)",
    )
    parser.add_argument(
        "--sales-weight",
        type=float,
        default=0.2,
        metavar="W",
        help="weight of sales in the order of the logged pages; from 1 on, bestsellers come first "
        "for every query (default 0.2)",
    )
    parser.add_argument(
        "--randomised",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the pages in random order, marked in a column `randomised` (default 0)",
    )
    parser.add_argument(
        "--match",
        action="store_true",
        help="log the number of query words that the ranker counted, as a pair feature",
    )
    parser.add_argument(
        "--kind",
        default="overlapping",
        metavar="KIND",
        help="overlapping, or complementary: text, photo, numbers and history each hold "
        "information that the others lack (default overlapping)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
