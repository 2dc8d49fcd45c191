"""Codes learned without labels, as a table: `python -m mmrank.codes --data DIR --of items`."""

from __future__ import annotations

import argparse
import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmrank.collaborative.matrix import read_interactions
from mmrank.data.checks import ADDED
from mmrank.data.content import content_bags
from mmrank.data.tables import DataError, Dataset
from mmrank.data.validation import checked_dataset
from mmrank.outputs import check_target, exit_code, log_progress, whole_file

if TYPE_CHECKING:
    from mmrank.pretrain.fit import Model

logger = logging.getLogger("mmrank.codes")
METHODS = ("ae", "vae")
EXAMPLE = """\
example:
  python -m mmrank.codes --data data/shop --of items --method vae --out data/shop-codes.parquet

Trains an autoencoder without labels and writes the catalogue with one more column: item vectors.
  --of items  reads the words of each item (texts, tags, categories, numbers). New items get a
              code too.
  --of users  reads the items of each user's training events. Items without an event get no code.
With --lists (only for --of users) the lists are written too, each with the code of its user from
the events strictly before the list's time. At the end the lines for schema.yaml are printed.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.codes",
        description="Learns codes of items without labels and writes them as a table.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--data", required=True, type=path, metavar="DIR", help="folder of a prepared dataset"
    )
    parser.add_argument(
        "--of", required=True, choices=("items", "users"), help="what codes are learned from"
    )
    parser.add_argument(
        "--method",
        default="vae",
        choices=METHODS,
        help="the autoencoder: plain or variational (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=path,
        metavar="FILE",
        help="the catalogue with codes, a .parquet file",
    )
    parser.add_argument(
        "--lists", type=path, metavar="FILE", help="also write the lists, a .parquet file"
    )
    parser.add_argument(
        "--column", default="code", help="name of the new column (default: %(default)s)"
    )
    parser.add_argument("--width", type=_positive, default=32, help="width of a code (default: 32)")
    parser.add_argument(
        "--hidden", type=_positive, default=256, help="width of the hidden layer (default: 256)"
    )
    parser.add_argument(
        "--epochs", type=_positive, default=50, help="passes over the rows (default: 50)"
    )
    parser.add_argument(
        "--beta",
        type=float,
        default=0.2,
        help="weight of the prior in a vae (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of weights and order (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _run(args: argparse.Namespace) -> None:
    targets = {"--out": args.out} | ({} if args.lists is None else {"--lists": args.lists})
    for flag, file in targets.items():
        if file.suffix != ".parquet":
            raise DataError(f"{flag} {file}: name a file that ends with .parquet")
        check_target(flag, file, args.force)
    if args.lists is not None and args.of != "users":
        raise DataError("--lists needs --of users")
    if not 0 <= args.beta < np.inf:
        raise DataError(f"--beta {args.beta:g}: must be at least 0")
    dataset = checked_dataset(args.data, training=False, graded=False)
    if args.column in dataset.catalog or f"user_{args.column}" in dataset.lists:
        raise DataError(f"--column {args.column}: this column exists; name another one")
    if args.of == "items":
        rows, _ = content_bags(dataset)
        vectors = _codes(args, rows)
    else:
        vectors = _of_users(args, dataset)
    _write(dataset.catalog, vectors, args.column, args.out)
    print(f"codes     {int((~np.isnan(vectors[:, 0])).sum()):,} of {len(vectors):,} items")
    print(f"wrote     {args.out}")
    print("schema    (the file, or a link to it, in the folder of the dataset)")
    print("          catalog:")
    print(f"            file: {args.out.name}")
    print(f"            item: {dataset.schema.catalog.item}")
    print(f"          - {{name: {args.column}, kind: vector, side: item}}")
    if args.lists is not None:
        print(f"wrote     {args.lists}")
        print("schema    lists:")
        print(f"            file: {args.lists.name}")
        print(f"          - {{name: user_{args.column}, kind: vector, side: user}}")


def _codes(args: argparse.Namespace, rows: sp.csr_matrix) -> np.ndarray:
    from mmrank.pretrain.fit import encode_rows

    return encode_rows(_trained(args, rows), rows)


def _of_users(args: argparse.Namespace, dataset: Dataset) -> np.ndarray:
    """Vectors of items [items, D], NaN for an item that no user met; also writes the lists."""
    from mmrank.pretrain.fit import column_vectors, encode_rows
    from mmrank.pretrain.users import lists_rows, training_rows

    if dataset.events is None:
        raise DataError(f"{args.data}: no events table, which --of users needs; use --of items")
    interactions = read_interactions(dataset, {})
    rows = training_rows(dataset, interactions)
    if rows.nnz == 0:
        raise DataError(f"{args.data}: no event before the end of training; use --of items")
    model = _trained(args, rows)
    vectors = column_vectors(model)
    vectors[np.asarray(rows.sum(0)).ravel() == 0] = np.nan
    if args.lists is not None:
        histories, list_of = lists_rows(dataset, interactions)
        lists = dataset.lists.drop(columns=list(ADDED), errors="ignore")
        codes = encode_rows(model, histories)[list_of]
        _write(lists, codes, f"user_{args.column}", args.lists)
    return vectors


def _trained(args: argparse.Namespace, rows: sp.csr_matrix) -> Model:
    # TensorFlow takes seconds to import, so wrong input is reported before.
    import tensorflow as tf

    from mmrank.pretrain.autoencoder import Autoencoder
    from mmrank.pretrain.fit import BATCH_ROWS, fit_rows
    from mmrank.pretrain.variational import VariationalAutoencoder

    tf.keras.utils.set_random_seed(args.seed)
    logger.info("%s rows of %s columns, %s entries", *(f"{n:,}" for n in (*rows.shape, rows.nnz)))
    steps = args.epochs * -(-rows.shape[0] // BATCH_ROWS)
    model = (
        Autoencoder(args.width, hidden=args.hidden)
        if args.method == "ae"
        else VariationalAutoencoder(
            args.width, hidden=args.hidden, beta=args.beta, anneal_steps=steps // 2
        )
    )
    losses = fit_rows(model, rows, epochs=args.epochs, seed=args.seed)
    logger.info("loss %.3f after the first epoch, %.3f after the last", losses[0], losses[-1])
    return model


def _write(table: pd.DataFrame, vectors: np.ndarray, column: str, file: pathlib.Path) -> None:
    cells = [None if np.isnan(v[0]) else v for v in vectors.astype(np.float32)]
    with whole_file(file) as partial:
        table.assign(**{column: pd.Series(cells, table.index, dtype=object)}).to_parquet(
            partial, index=False
        )


if __name__ == "__main__":
    raise SystemExit(main())
