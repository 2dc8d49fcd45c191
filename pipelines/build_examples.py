"""Shards of ELWC records for training, joined from lists, catalogue and events by Apache Beam.

    python -m pipelines.build_examples --data DIR --out OUT
    python -m pipelines.build_examples --log FILE --catalog FILE --out OUT --feature title:text ...

The first form reads a prepared dataset. The second reads a shop's own log, with the same grades,
events and checks as `pipelines.prepare_logs`. The test lists are the latest tenth of the log, the
validation lists the tenth before, divided at a full minute. docs/beam.md describes the records and
how to run on clusters.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrank.config import Config, load_config
from mmrank.data.columns import TABLES
from mmrank.data.shards import read_manifest
from mmrank.data.tables import DataError
from mmrank.outputs import exit_code, log_progress, new_folder, require_extra
from mmrank.schema import Feature, Schema, load_schema, save_schema
from pipelines.beam.arguments import add_job_arguments
from pipelines.prepare_logs import (
    Columns,
    add_log_arguments,
    catalog_types,
    check_sensitive,
    log_columns,
    log_schema,
    log_types,
    read_feature,
)

if TYPE_CHECKING:
    from pipelines.beam.jobs import Job

EXAMPLE = """example:
  python -m pipelines.build_examples --data data/shop --config shop.yaml --out data/records
  python -m pipelines.build_examples --log pages/ --catalog products.parquet --out data/records \\
      --list search_id --item sku --query terms --position rank --click clicked --time at \\
      --feature title:text --feature price:number --shards 64 --workers 4

A table is a file, or for --log and --catalog a folder of .parquet parts. --config gives feature
options that change raw values, such as the frames of a clip. Put Beam's own flags after `--`:
  ... -- --runner=FlinkRunner --flink_master=HOST:8081
"""


@dataclasses.dataclass(frozen=True)
class Log:
    """A shop's own log and catalogue; the fields are arguments of `prepare_logs.prepare`."""

    log: pathlib.Path
    catalog: pathlib.Path
    columns: Columns
    features: Sequence[Feature]
    catalog_item: str = "item_id"
    pseudonyms: bool = False

    @property
    def others(self) -> list[str]:
        """Columns of the log that features read."""
        return [f.column for f in self.features if f.side != "item"]

    @property
    def schema(self) -> Schema:
        """The schema of the records made from the log."""
        roles = self.columns.named()
        return log_schema(roles, self.features, self.catalog_item)


def build(
    source: pathlib.Path | Log,
    out: pathlib.Path,
    *,
    encoders: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    shards: int = 16,
    flags: Sequence[str] = (),
    workers: int = 1,
    running: str | None = None,
) -> dict[str, Any]:
    """Writes records to the new folder `out` and returns their manifest.

    Args:
      source: The folder of a prepared dataset, or a log.
      out: Folder to create.
      encoders: Options of features and kinds, as in `model.encoders` of a config.
      drop: Features to leave out.
      shards: Files per split.
      flags, workers, running: As for `run_job`.

    Raises:
      DataError: A value cannot be read, is not in the catalogue, or is repeated.
      OutputError: `out` is not empty.
    """
    from pipelines.beam.examples import build_records
    from pipelines.beam.jobs import run_job
    from pipelines.beam.pages import log_rows
    from pipelines.beam.pieces import schema_pieces, table_pieces
    from pipelines.beam.readers import Reader

    if isinstance(source, Log):
        schema, media = source.schema, source.catalog.parent
        columns, others = source.columns, source.others
        named = [*columns.named().values(), *others]
        log = table_pieces(source.log, named, *log_types(columns, schema.features))
        item = source.catalog_item
        known = [item, *(f.column for f in schema.side("item"))]
        catalog = table_pieces(source.catalog, known, *catalog_types(item, schema.features))
    else:
        schema = load_schema(source)
        media = source / (schema.media or ".")
        catalog, lists, events = (schema_pieces(source, schema, table) for table in TABLES)
    reader = Reader(schema, media, dict(encoders or {}), tuple(drop))
    reader.check()

    with new_folder(out) as folder:

        def add(job: Job) -> None:
            items = job.table("catalogue", catalog)
            if isinstance(source, Log):
                rows, done = log_rows(
                    job,
                    job.table("log", log),
                    source.log,
                    columns,
                    others,
                    shards,
                    source.pseudonyms,
                )
            else:
                rows = job.table("lists", lists)
                done = job.table("events", events) if events else None
            build_records(job, reader, rows, items, done, shards, folder)

        counts = run_job(add, folder, flags, workers, running)
        save_schema(schema, folder)
        manifest = read_manifest(folder, "examples", "run the job again")
        if "train" not in manifest["splits"]:
            raise DataError(f"{out}: no lists are left for training; give the job more lists")
    for what, count in sorted(counts.items()):
        if count:
            print(f"{count:,} {what}")
    return manifest


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.build_examples",
        description="Joins lists, catalogue and events into shards of training records.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="prepared dataset")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--config", type=pathlib.Path, metavar="FILE", help="training config")
    parser.add_argument(
        "--drop", action="append", default=[], metavar="FEATURE", help="omit a feature"
    )
    add_job_arguments(parser)
    add_log_arguments(parser, required=False)
    args = parser.parse_args(argv)
    if (args.data is None) == (args.log is None) or (args.log is None) != (args.catalog is None):
        parser.error("give either --data, or --log and --catalog")
    log_progress()
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    require_extra("pipelines.build_examples", "apache_beam", "pipelines")
    config = Config() if args.config is None else load_config(args.config)
    source = args.data
    if source is None:
        check_sensitive(args.sensitive, (args.log, args.catalog))
        features = [read_feature(text) for text in args.feature]
        columns = log_columns(args)
        source = Log(args.log, args.catalog, columns, features, args.catalog_item, args.pseudonyms)
    manifest = build(
        source,
        args.out,
        encoders=config.model.encoders,
        drop=[*config.model.drop, *args.drop],
        shards=args.shards,
        flags=args.flags,
        workers=args.workers,
    )
    for split, spec in manifest["splits"].items():
        print(f"{split}: {spec['lists']:,} lists, {spec['candidates']:,} candidates")
    print(f"written to {args.out}")


if __name__ == "__main__":
    sys.exit(main())
