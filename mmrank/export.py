"""Command line: exports a trained run as a SavedModel that does not need this package."""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrank.compression.options import Compression, parse_compression
from mmrank.config import ConfigError
from mmrank.data.run_state import check_run_folder
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.outputs import exit_code, log_progress

if TYPE_CHECKING:
    from mmrank.trained_run import Run

EXAMPLE = """example:
  python -m mmrank.export --run runs/fashion
  python -m mmrank.export --run runs/tasks --order 'click * purchase'
  python -m mmrank.export --run runs/fashion --compress prune=0.4,int8 --max-loss 0.005
  python -m mmrank.export --run runs/shop --policy runs/rerank

Writes the next free number, such as runs/fashion/export/2, which TensorFlow Serving and
mmrank.Ranker.load read. --data names the catalogue whose items can be ranked by id; it may be one
that the model was not trained on.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    how = parse_compression(args.compress)
    if not 0 <= args.max_loss < 1:
        raise ConfigError(f"--max-loss {args.max_loss:g}: give a share from 0 to below 1")
    vectors = None
    if args.embeddings is not None:
        from mmrank.serving.computed import Computed

        vectors = Computed.open(args.embeddings)
    policy = None
    if args.policy is not None:
        from mmrank.reranking.trained import load_policy

        if how != Compression():
            raise ConfigError("--policy: not together with --compress; leave out one of them")
        policy = load_policy(args.policy)
    run, dataset = _load(args.run, args.data)
    if args.order is not None:
        run = run.with_order(args.order)
    from mmrank.serving.compressed import export_compressed
    from mmrank.serving.export import export_run

    out = args.out or args.run / "export"
    if how == Compression():
        folder = export_run(run, out, dataset, vectors=vectors, policy=policy)
    else:
        folder = export_compressed(run, out, dataset, how, args.max_loss, vectors=vectors)
    print(folder)
    ids = json.dumps(list(dataset.item_ids[:3]), ensure_ascii=False)
    rank = f"mmrank.Ranker.load({json.dumps(str(folder))}).rank(candidates={ids})"
    print(f"next: python -c {shlex.quote(f'import mmrank; print({rank})')}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.export",
        description="Exports a trained run as a SavedModel that contains the encoded catalogue.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, type=pathlib.Path, help="folder of a trained run")
    parser.add_argument(
        "--data", type=pathlib.Path, help="folder of a prepared dataset (default: the run's own)"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, help="folder of the numbered exports (default: RUN/export)"
    )
    parser.add_argument(
        "--order",
        metavar="FORMULA",
        help="formula that makes one score of the run's tasks, such as 'click^0.3 * "
        "purchase^0.7' (default: the config's model.order)",
    )
    parser.add_argument(
        "--embeddings",
        type=pathlib.Path,
        metavar="DIR",
        help="item vectors that `python -m pipelines.embed_catalog` computed ahead for this run; "
        "without it the catalogue is encoded here",
    )
    parser.add_argument(
        "--policy",
        type=pathlib.Path,
        metavar="DIR",
        help="policy that `python -m mmrank.rerank --run RUN` learned from this run's pages; the "
        "export rearranges pages with it",
    )
    parser.add_argument(
        "--compress",
        action="append",
        default=[],
        metavar="KIND[=N],…",
        help="compress the export: float16 or int8 (the stored items), prune=SHARE or "
        "cluster=NUMBER (the weights), dynamic_range (adds files for TensorFlow Lite); may "
        "be repeated",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of the NDCG@10 on the validation lists that --compress may lose; if it loses "
        "more, nothing is exported (default: %(default)s)",
    )
    return parser


def _load(run_folder: pathlib.Path, data: pathlib.Path | None) -> tuple[Run, Dataset]:
    # Cheap checks come before TensorFlow is loaded, which takes seconds.
    check_run_folder(run_folder)
    if data is not None and not data.is_dir():
        raise DataError(f"--data: {data}: no such folder")

    from mmrank.trained_run import load_run

    run = load_run(run_folder)
    folder = run.data if data is None else data
    if not folder.is_dir():
        raise DataError(f"{folder}: the run's dataset does not exist; give one with --data")
    return run, load_dataset(folder)


if __name__ == "__main__":
    sys.exit(main())
