"""Scores for a whole file of lists: `python -m mmrank.rank --model EXPORT --lists FILE`."""

from __future__ import annotations

import argparse
import logging
import pathlib
import time
from collections.abc import Sequence

from mmrank.data.chunks import columns_in, ending
from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError
from mmrank.outputs import check_target, exit_code, log_progress

logger = logging.getLogger("mmrank.rank")
ROWS, ROWS_WITH_MEDIA = 20_000, 2_000

EXAMPLE = """\
example:
  python -m mmrank.rank --model runs/shop/export --lists searches.csv --out scores.parquet
  python -m mmrank.rank --model runs/shop/export --lists new.jsonl.gz --out best.csv --raw \\
      --query-column q --top 10

FILE has a row per candidate, and the rows of each list are together. It has the query's columns,
named as in the schema that the ranker was trained with, and either item ids of the exported
catalogue or (--raw) the products' own columns. --out gets the columns that identify lists and
items, `score` and `rank`. To continue a job that was stopped or killed, run the same command again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(
        lambda: _run(args), "finished parts are kept; run the command again to continue"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.rank",
        description="Scores and ranks the candidates of every list in a file.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        required=True,
        type=pathlib.Path,
        metavar="EXPORT",
        help="an export, or the folder of the numbered exports",
    )
    parser.add_argument(
        "--lists",
        required=True,
        type=pathlib.Path,
        metavar="FILE",
        help="the lists: .parquet, .csv, .tsv or .jsonl, also gzipped",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=pathlib.Path,
        metavar="FILE",
        help="the scores, of the same file types",
    )
    parser.add_argument("--query-column", metavar="COLUMN", help="the column with the query's text")
    parser.add_argument("--item-column", metavar="COLUMN", help="the column with item ids")
    parser.add_argument(
        "--list-column",
        metavar="COLUMN",
        help="the column that identifies a list (default: that of the schema, else the query's "
        "columns)",
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="read the products' own columns even if there are item ids",
    )
    parser.add_argument(
        "--media",
        type=pathlib.Path,
        metavar="DIR",
        help="folder or zip that paths of photos and recordings are relative to (default: FILE's "
        "folder)",
    )
    parser.add_argument("--top", type=int, metavar="N", help="write only the best N of each list")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN", help="also write this column of "
        "FILE; may be repeated"
    )  # fmt: skip
    parser.add_argument(
        "--order",
        metavar="FORMULA",
        help="formula that makes one score of several tasks, as in mmrank.evaluate",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        metavar="ROWS",
        help=f"rows per part (default: {ROWS}, with media {ROWS_WITH_MEDIA})",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    started = time.monotonic()
    check_target("--out", args.out, force=False)
    for flag, file in (("--lists", args.lists), ("--out", args.out)):
        try:
            ending(file)
        except DataError as error:
            raise DataError(f"{flag}: {error}") from error
    if not args.lists.is_file():
        raise DataError(f"--lists: {args.lists}: no such file")
    for flag, value in (("--top", args.top), ("--chunk", args.chunk)):
        if value is not None and value < 1:
            raise DataError(f"{flag} {value}: must be at least 1")
    columns = columns_in(args.lists)
    for column in (args.list_column, *args.keep):
        if column is not None and column not in columns:
            raise DataError(f"{args.lists}: no column {column!r}; has {', '.join(columns)}")

    # ---- reading the export, after TensorFlow is loaded, which takes seconds
    from mmrank.schema import load_schema
    from mmrank.serving.card import CARD
    from mmrank.serving.ranker import Ranker
    from mmrank.serving.request import RankError
    from mmrank.serving.scored_file import ScoredFile, job_warnings
    from mmrank.serving.table_columns import ColumnReader
    from mmrank.serving.table_layout import Named, find_layout, list_columns

    media = MediaStore(args.media if args.media is not None else args.lists.parent)
    reader = ColumnReader(media.read)
    try:
        ranker = Ranker.load(args.model, order=args.order)
        schema = load_schema(ranker.folder / CARD.parent, data=False)
        named = Named(args.query_column, args.item_column, args.raw)
        where = str(args.lists)
        layout = find_layout(ranker.card, schema, columns, where, named)
        if args.list_column is not None:
            lists: tuple[str, ...] = (args.list_column,)
        else:
            lists = list_columns(ranker.card, schema, columns, where, layout)
    except RankError as error:
        raise DataError(str(error)) from error
    logger.info("a list is identified by %s", ", ".join(lists))
    if ranker.inputs.history is not None:
        logger.warning("a file has no events: every user is ranked for as a user without events")

    # ---- scoring
    held = any(ranker.inputs.columns[n].media for n in layout.features)
    rows = args.chunk or (ROWS_WITH_MEDIA if held else ROWS)
    job = ScoredFile(ranker, layout, lists, reader, args.lists, args.out, rows, args.top, args.keep)
    try:
        written = job.run()
    except RankError as error:
        raise DataError(f"{args.lists}: {error}") from error
    for line in job_warnings(job.counts, reader, layout.absent):
        logger.warning("%s", line)
    took = max(time.monotonic() - started, 1e-9)
    print(f"wrote     {written}")
    print(f"scored    {job.counts['rows']:,} candidates of {job.counts['lists']:,} lists")
    print(
        f"time      {took:.0f} s, {job.counts['rows'] / max(took, 1e-9):,.0f} candidates a second"
    )


if __name__ == "__main__":
    raise SystemExit(main())
