"""The vectors of a catalogue's items, computed in advance by an export and stored by item id.

    python -m pipelines.embed_catalog --export RUN/export --data DIR --out OUT

Runs `encode_items` in batches over a catalogue of any size, with Apache Beam. A job that was
stopped, even by SIGKILL, continues with the missing shards. The manifest is written last, and
without it the folder is not read. docs/beam.md describes the files and how to run on clusters.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrank.data.columns import column_types
from mmrank.data.shards import MANIFEST, PARTIAL
from mmrank.data.tables import DataError
from mmrank.outputs import exit_code, log_progress, refuse_filled, require_extra, write_whole
from mmrank.schema import load_schema
from pipelines.beam.arguments import add_job_arguments, positive

if TYPE_CHECKING:
    from mmrank.serving.computed import Computed
    from pipelines.beam.jobs import Job

PLAN = "plan.json"
NAMES = {
    "fingerprint": "model",
    "shards": "number of shards",
    "cells": "--batch, or another number of items",
    "catalog": "catalogue",
}
EXAMPLE = """example:
  python -m pipelines.embed_catalog --export runs/shop/export --data data/shop --out data/vectors
  python -m mmrank.export --run runs/shop --data data/shop --embeddings data/vectors

--data is a folder with a schema.yaml that names the catalogue, which may be a folder of .parquet
parts. Put Beam's own flags after `--`: ... -- --runner=FlinkRunner --flink_master=HOST:8081
"""


def embed(
    export: pathlib.Path,
    data: pathlib.Path,
    out: pathlib.Path,
    *,
    shards: int = 16,
    batch: int = 128,
    flags: Sequence[str] = (),
    workers: int = 1,
    running: str | None = None,
) -> Computed:
    """Writes the vectors of a catalogue to `out` and returns them; existing shards are kept.

    Args:
      export: An export, or the folder of numbered exports.
      data: Folder of a prepared dataset; its schema and catalogue are read.
      out: Folder to create or to continue.
      shards: Files to write; at most one per batch.
      batch: Maximum number of items, on average, that are encoded at once.
      flags, workers, running: As for `run_job`.

    Raises:
      DataError: The export does not exist, the catalogue cannot be read, or `out` was started
        by another job.
      OutputError: `out` has other files.
    """
    from mmrank.serving.card import CARD, read_card
    from mmrank.serving.computed import Computed, described_shard, widths_of
    from mmrank.serving.ranker import export_folder
    from mmrank.serving.request import RankError
    from pipelines.beam.jobs import run_job
    from pipelines.beam.pieces import row_count, table_pieces
    from pipelines.beam.readers import reader_of_card
    from pipelines.beam.vectors import Partition, cell_count, embed_items

    try:
        export = export_folder(export)
        card = read_card(export)
    except RankError as error:
        raise DataError(str(error)) from None
    if not card.fingerprint:
        raise DataError(f"{export}: has no fingerprint of item vectors; export the run again")
    own = load_schema(data)
    media = data / (own.media or ".")
    schema = load_schema(export / CARD.parent)
    reader = reader_of_card(dataclasses.replace(schema, catalog=own.catalog), media, card)
    reader.check()
    item = own.catalog.item
    columns = [item, *(kind.feature.column for kind in reader.of_side("item"))]
    spec = own.catalog
    single, texts, numbers = column_types(dataclasses.replace(schema, catalog=spec), "catalog")
    pieces = table_pieces(data / spec.file, columns, single | texts, numbers, spec)
    cells = cell_count(row_count(pieces), batch)
    partition = Partition(cells, min(shards, cells))
    plan = {
        "fingerprint": card.fingerprint,
        "shards": partition.shards,
        "cells": cells,
        "catalog": _stamps({p.file for p in pieces} | ({media} if media.is_file() else set())),
    }
    with _claimed(out, plan):
        files = [out / partition.file(shard) for shard in range(partition.shards)]
        pending = [shard for shard, file in enumerate(files) if not file.is_file()]

        def add(job: Job) -> None:
            embed_items(
                job, reader, job.table("catalogue", pieces), partition, pending, export, out
            )

        if pending:
            counts = run_job(add, out, flags, workers, running)
            for what, count in sorted(counts.items()):
                if count:
                    print(f"{count:,} {what}")
        if not (out / MANIFEST).is_file():
            done = [described_shard(file) for file in files]
            width, match = widths_of(files[0], len(card.modalities))
            items = sum(shard.records for shard in done)
            written = tuple(dataclasses.asdict(shard) for shard in done)
            Computed(out, card.fingerprint, card.modalities, width, items, written, match).save()
    return Computed.open(out)


def _stamps(files: Iterable[pathlib.Path]) -> dict[str, list[int]]:
    """Size in bytes and modification time of some files, by name."""
    stats = {file.name: file.stat() for file in files}
    return {name: [stats[name].st_size, stats[name].st_mtime_ns] for name in sorted(stats)}


@contextlib.contextmanager
def _claimed(out: pathlib.Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Locks `out` for this job; it is new, or was started by a job of the same plan.

    Raises:
      DataError: It is in use, or was started by a job of another plan.
      OutputError: It has other files.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / PLAN
    if not file.is_file():
        refuse_filled(out)
    # The lock ends with this process, even if it is killed.
    claim = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        text = json.dumps(plan, indent=2) + "\n"
        if not file.is_file():
            write_whole(file, text)
        begun = json.loads(file.read_text(encoding="utf-8"))
        for key, value in json.loads(text).items():
            if begun.get(key) != value:
                raise DataError(
                    f"{out}: started with another {NAMES[key]}; give a new folder with --out, or "
                    "use the same values as before"
                )
        for left in out.glob(f".*{PARTIAL}"):
            left.unlink()
        yield
    except BlockingIOError:
        raise DataError(f"{out}: another job is writing to it; wait until it ends") from None
    finally:
        os.close(claim)


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.embed_catalog",
        description="Computes the vectors of a catalogue's items; continues where it stopped.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--export", type=pathlib.Path, required=True, metavar="DIR", help="export, or RUN/export"
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument(
        "--batch", type=positive, default=128, metavar="N", help="items encoded at once, about"
    )
    add_job_arguments(parser)
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), interrupted="run the same command again to continue")


def _run(args: argparse.Namespace) -> None:
    require_extra("pipelines.embed_catalog", "apache_beam", "pipelines")
    if not args.export.is_dir():
        raise DataError(f"--export: {args.export}: no such folder")
    done = embed(
        args.export,
        args.data,
        args.out,
        shards=args.shards,
        batch=args.batch,
        flags=args.flags,
        workers=args.workers,
    )
    print(f"{done.items:,} items in {len(done.shards)} shards, for the model {done.fingerprint}")
    print(f"written to {args.out}. Next:")
    print(f"  python -m mmrank.export --run RUN --data {args.data} --embeddings {args.out}")


if __name__ == "__main__":
    sys.exit(main())
