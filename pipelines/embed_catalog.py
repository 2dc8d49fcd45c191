"""The vectors of a catalogue's items, computed ahead by an export and kept by item id.

    python -m pipelines.embed_catalog --export RUN/export --data DIR --out OUT

Runs `encode_items` in batches over a catalogue of any size, by Apache Beam. A job that was stopped,
even by SIGKILL, goes on with the shards that are not there yet; the manifest comes last, and
without it nothing reads the folder. docs/beam.md tells of the files and of clusters.
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

from mmrank.data.shards import MANIFEST, PARTIAL
from mmrank.data.tables import DataError, column_types
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
parts. Beam's own flags stand behind `--`: ... -- --runner=FlinkRunner --flink_master=HOST:8081
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
    """The vectors of a catalogue, written to `out`; shards that are there already are kept.

    Args:
      export: An export, or the folder of the numbered ones.
      data: Folder of a prepared dataset; its schema and catalogue are read.
      out: Folder to make, or to go on with.
      shards: Files to write; at most one a batch.
      batch: Most items, on the average, that are encoded at once.
      flags, workers, running: As of `run_job`.

    Raises:
      DataError: There is no such export, the catalogue cannot be read, or `out` was begun by
        another job.
      OutputError: `out` holds something else.
    """
    from mmrank.serving.card import CARD, read_card
    from mmrank.serving.computed import Computed, described_shard, widths_of
    from mmrank.serving.ranker import export_folder
    from mmrank.serving.request import RankError
    from pipelines.beam.jobs import run_job
    from pipelines.beam.pieces import row_count, table_pieces
    from pipelines.beam.readers import reader_of_card
    from pipelines.beam.vectors import Places, cell_count, embed_items

    try:
        export = export_folder(export)
        card = read_card(export)
    except RankError as error:
        raise DataError(str(error)) from None
    if not card.fingerprint:
        raise DataError(f"{export}: older than fingerprints of item vectors; export the run anew")
    own = load_schema(data)
    media = data / (own.media or ".")
    schema = load_schema(export / CARD.parent)
    reader = reader_of_card(dataclasses.replace(schema, catalog=own.catalog), media, card)
    reader.check()
    item = own.catalog.item
    columns = [item, *(kind.feature.column for kind in reader.of_side("item"))]
    place = own.catalog
    single, texts, numbers = column_types(dataclasses.replace(schema, catalog=place), "catalog")
    pieces = table_pieces(data / place.file, columns, single | texts, numbers, place)
    cells = cell_count(row_count(pieces), batch)
    places = Places(cells, min(shards, cells))
    plan = {
        "fingerprint": card.fingerprint,
        "shards": places.shards,
        "cells": cells,
        "catalog": _stamps({p.file for p in pieces} | ({media} if media.is_file() else set())),
    }
    with _claimed(out, plan):
        files = [out / places.file(shard) for shard in range(places.shards)]
        pending = [shard for shard, file in enumerate(files) if not file.is_file()]

        def add(job: Job) -> None:
            embed_items(job, reader, job.table("catalogue", pieces), places, pending, export, out)

        if pending:
            counts = run_job(add, out, flags, workers, running)
            for what, count in sorted(counts.items()):
                if count:
                    print(f"{count:,} {what}")
        if not (out / MANIFEST).is_file():
            done = [described_shard(file) for file in files]
            width, match = widths_of(files[0], len(card.modalities))
            items = sum(shard.records for shard in done)
            told = tuple(dataclasses.asdict(shard) for shard in done)
            Computed(out, card.fingerprint, card.modalities, width, items, told, match).save()
    return Computed.open(out)


def _stamps(files: Iterable[pathlib.Path]) -> dict[str, list[int]]:
    """Size in bytes and time of the last change of some files, by name."""
    told = {file.name: file.stat() for file in files}
    return {name: [told[name].st_size, told[name].st_mtime_ns] for name in sorted(told)}


@contextlib.contextmanager
def _claimed(out: pathlib.Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Keeps `out` for this job; it is new, or was begun by a job of the same plan.

    Raises:
      DataError: It is in use, or was begun by a job of another plan.
      OutputError: It holds something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / PLAN
    if not file.is_file():
        refuse_filled(out)
    # The lock ends with this process, however that ends.
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
                    f"{out}: begun with another {NAMES[key]}; name a new folder with --out, or go "
                    "on as it was begun"
                )
        for left in out.glob(f".*{PARTIAL}"):
            left.unlink()
        yield
    except BlockingIOError:
        raise DataError(f"{out}: another job is writing to it; wait for its end") from None
    finally:
        os.close(claim)


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.embed_catalog",
        description="Computes the vectors of a catalogue's items ahead; goes on where it stopped.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--export", type=pathlib.Path, required=True, metavar="DIR", help="an export, or RUN/export"
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument(
        "--batch", type=positive, default=128, metavar="N", help="items encoded at once, about"
    )
    add_job_arguments(parser)
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), interrupted="the same command goes on from here")


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
    print(f"{done.items:,} items in {len(done.shards)} shards, of the model {done.fingerprint}")
    print(f"written to {args.out}. Next:")
    print(f"  python -m mmrank.export --run RUN --data {args.data} --embeddings {args.out}")


if __name__ == "__main__":
    sys.exit(main())
