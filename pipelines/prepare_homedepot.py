"""Makes a dataset of a hardware shop: search terms of Home Depot with graded products.

    python -m pipelines.prepare_homedepot --source DIR --out DIR

Source: `train.csv.gz` (or `train.csv`) of the Home Depot competition: id, product_uid,
product_title, search_term and relevance, the mean of several raters from 1 to 3.

- A list is a search term with its judged products; spellings that differ only in white space or
  case are one term. The term is the list's id, so that its split does not depend on other terms.
- The grade is relevance − 1: 0 for irrelevant, 2 for perfect, with fractions in between. A pair
  judged twice has the mean grade.
- Terms, not rows, are divided 70/10/20 into train, valid and test by mmrank's own hash of the
  list id: no query of the test is in training. Its products may be, as in a shop. The test is large
  because rankings differ little here: 650 lists distinguish rankers only from .006 NDCG@10 on.
- Lists of the test and of valid have at least five candidates (`--candidates`): in shorter ones
  any order is nearly right. Training keeps lists of at least two (`--train-candidates`); a list of
  a single product says nothing about order.
- Nearly all judged products are partly relevant, so a random order has a high NDCG, which is
  printed for every split. Products that nobody judged are in no list.
- Titles have traces of a wrong encoding, such as `16å¡` for 16°; known traces are fixed.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from typing import Annotated

import numpy as np
import pandas as pd

from mmrank.data.splits import hash_splits
from mmrank.data.validation import validate_dataset
from mmrank.outputs import InputError, exit_code, new_folder, shown
from mmrank.ranges import Range
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg

FILE = "train.csv"
COLUMNS = ("product_uid", "product_title", "search_term", "relevance")
# While mmrank's defaults were chosen, on the two tenths after them, both tenths of the test were in
# train.
TENTHS = (*["train"] * 6, "test", "test", "valid", "train")
CANDIDATES = 5
TRAIN_CANDIDATES = 2
# UTF-8 that was read as another encoding, more than once, when the file was made.
REPAIRS = {
    "å¡": "°",
    "è_": "°",
    "åÊ": " ",
    "\x89Ûª": "’",
    "\x89Û÷": "‘",
    "\x89ÛÜ": "“",
    "\x89ÛÒ": "–",
    "\x89Û\x90": "-",
    "\x89ã¢": "™",
}

SCHEMA = Schema(
    name="homedepot",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def read_judgements(source: pathlib.Path) -> pd.DataFrame:
    """`item_id`, `title`, `query` and `grade` of every judged pair, as in the file.

    Args:
      source: Folder with train.csv.gz or train.csv.

    Raises:
      InputError: The file or a column is missing, a relevance is not within 1 to 3, or an id,
        a term or a title is empty.
    """
    file = next((f for f in (source / f"{FILE}.gz", source / FILE) if f.is_file()), None)
    if file is None:
        raise InputError(f"{source / FILE}.gz: no such file; --source is the folder with it")
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: not a CSV file: {error}; download it again") from error
    for column in COLUMNS:
        if column not in rows:
            raise InputError(f"{file}: no column {column!r}; it has {', '.join(rows.columns)}")
    relevance = pd.to_numeric(rows["relevance"], errors="coerce")
    refuse(file, rows, "relevance", ~relevance.between(1, 3), "is not a number from 1 to 3")
    texts = {c: rows[c].str.split().str.join(" ") for c in COLUMNS[:3]}
    for column, text in texts.items():
        refuse(file, rows, column, text == "", "is empty")
    return pd.DataFrame(
        {
            "item_id": texts["product_uid"],
            "title": texts["product_title"].map(repaired),
            "query": texts["search_term"],
            "grade": relevance - 1,
        }
    )


def refuse(
    file: pathlib.Path, rows: pd.DataFrame, column: str, wrong: pd.Series, what: str
) -> None:
    """Checks that no row is wrong.

    Raises:
      InputError: A row is wrong; the message gives the first one's row number.
    """
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            f"{file}, column {column!r}, row {row + 1}: {shown(rows[column].iloc[row])} {what}; "
            "fix or drop the row"
        )


def repaired(title: str) -> str:
    """The title without the known traces of a wrong encoding."""
    for wrong, right in REPAIRS.items():
        title = title.replace(wrong, right)
    return " ".join(title.split())


def make_lists(
    judged: pd.DataFrame, candidates: int = CANDIDATES, train_candidates: int = TRAIN_CANDIDATES
) -> pd.DataFrame:
    """A list for every search term that has enough products.

    Args:
      judged: The result of `read_judgements`.
      candidates: Least number of candidates of a list of valid or test.
      train_candidates: Least number of candidates of a list of train.

    Returns:
      `list_id`, `query`, `item_id`, `grade` and `split`, in the order of the file, except that the
      rows of a list are together, as `mmrank.rank` wants them.
    """
    rows = judged.assign(list_id=judged["query"].str.casefold())
    rows["query"] = rows.groupby("list_id")["query"].transform("first")
    rows = rows.groupby(["list_id", "query", "item_id"], sort=False, as_index=False)["grade"].mean()
    rows["split"] = hash_splits(rows["list_id"], TENTHS)
    size = rows.groupby("list_id")["item_id"].transform("size")
    least = rows["split"].map({"train": train_candidates, "valid": candidates, "test": candidates})
    rows = rows[size >= least]
    first = pd.factorize(rows["list_id"])[0]
    rows = rows.iloc[np.argsort(first, kind="stable")]
    return rows[["list_id", "query", "item_id", "grade", "split"]].reset_index(drop=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    candidates: Annotated[int, Range(2)] = CANDIDATES
    train_candidates: Annotated[int, Range(2)] = TRAIN_CANDIDATES


def prepare(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    candidates: int = CANDIDATES,
    train_candidates: int = TRAIN_CANDIDATES,
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder with train.csv.gz; only read.
      out: Folder to create.
      candidates: Least number of candidates of a list of valid or test.
      train_candidates: Least number of candidates of a list of train.

    Raises:
      InputError: The source cannot be used.
      OutputError: `out` exists.
      DataError: The resulting dataset is not valid.
    """
    judged = read_judgements(source)
    catalog = judged.drop_duplicates("item_id")[["item_id", "title"]]
    lists = make_lists(judged, candidates, train_candidates)
    with new_folder(out) as folder:
        catalog.to_parquet(folder / SCHEMA.catalog.file, index=False)
        lists.to_parquet(folder / SCHEMA.lists.file, index=False)
        save_schema(SCHEMA, folder)
        validate_dataset(folder).raise_if_errors()
    print(
        f"products {len(catalog):,}; terms {judged['query'].str.casefold().nunique():,}, "
        f"{lists['list_id'].nunique():,} of them with enough products"
    )
    for split, rows in lists.groupby("split"):
        number = rows["list_id"].nunique()
        print(
            f"{split:<6} lists {number:>6,}: {len(rows) / number:.1f} candidates, mean grade "
            f"{rows['grade'].mean():.2f}; random order NDCG@10 {random_ndcg(rows):.3f}"
        )
    print(f"written to {out}")


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_homedepot",
        description="Makes a prepared dataset of search terms and graded products.",
        epilog=(
            "example: python -m pipelines.prepare_homedepot --source data/homedepot --out prepared"
        ),
    )
    parser.add_argument(
        "--source", type=pathlib.Path, required=True, help="folder with train.csv.gz"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=CANDIDATES,
        help="least candidates of a list of valid or test (default %(default)s)",
    )
    parser.add_argument(
        "--train-candidates",
        type=int,
        default=TRAIN_CANDIDATES,
        help="least candidates of a list of train (default %(default)s)",
    )
    args = parser.parse_args(argv)
    for flag in ("candidates", "train_candidates"):
        if getattr(args, flag) < 2:
            name = flag.replace("_", "-")
            parser.error(f"--{name} {getattr(args, flag)}: must be at least 2")
    return exit_code(
        lambda: prepare(
            args.source,
            args.out,
            candidates=args.candidates,
            train_candidates=args.train_candidates,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
