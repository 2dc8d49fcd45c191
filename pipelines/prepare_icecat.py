"""Makes a dataset of an electronics shop: queries of Icecat with judged products.

    python -m pipelines.prepare_icecat --source DIR --out DIR [--folds 5 --fold 0] [--ratings FILE]

Source: `products.jsonl.gz` (or `products.jsonl`), one product per line with id, title, name,
short_description, supplier, price and any of thousands of `attr_t_*` texts, `attr_n_*` numbers and
`attr_b_*` yes or no; and `ratings.csv` with query, docid and rating, 0 to 3.

- A list is a query with its judged products; the grade is the rating. The rest of the catalogue is
  unjudged, not irrelevant, and in no list. A query with one judged product is dropped, because
  there is nothing to order. Some of the others have no relevant product: NDCG excludes these.
- A product's attributes are one feature, from a column with a line per attribute: `weight: 62`.
- There are few queries, so they are divided for cross-validation: sorted by a hash of their text
  and assigned to `--folds` folds in turn. Fold `--fold` is the test; every eighth query of the
  others is for validation. With the same ratings every query is in the test of exactly one fold.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import json
import pathlib
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pandas as pd

from mmrank.config import ConfigError
from mmrank.data.attributes import attribute_lines
from mmrank.data.validation import validate_dataset
from mmrank.outputs import InputError, exit_code, new_folder, shown
from mmrank.ranges import Range, Whole
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg

PRODUCTS = "products.jsonl"
RATINGS = "ratings.csv"
TEXTS = ("title", "name", "supplier")
ATTRIBUTE = "attr_"
FOLDS = 5
VALID_ONE_IN = 8

SCHEMA = Schema(
    name="icecat",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("name", "text", "item", "name"),
        Feature("description", "text", "item", "description"),
        Feature("attributes", "attributes", "item", "attributes"),
        Feature("supplier", "category", "item", "supplier"),
        Feature("price", "number", "item", "price", {"log": True}),
        Feature("grade", "number", "label", "grade"),
    ),
)


def read_products(source: pathlib.Path) -> pd.DataFrame:
    """The catalogue: `item_id`, texts, `price`, `date_released` and `attributes`.

    Args:
      source: Folder with products.jsonl.gz or products.jsonl.

    Raises:
      InputError: The file is missing or broken, or a product has no id.
    """
    file = next((f for f in (source / f"{PRODUCTS}.gz", source / PRODUCTS) if f.is_file()), None)
    if file is None:
        raise InputError(f"{source / PRODUCTS}.gz: no such file; --source is the folder with it")
    rows = [
        {
            "item_id": str(product["id"]),
            **{name: _text(product, name) for name in TEXTS},
            # Read together: a description adds to the title and does not repeat it.
            "description": f"{_text(product, 'title')}. {_text(product, 'short_description')}",
            "price": product.get("price"),
            "date_released": product.get("date_released"),
            "attributes": lines_of(product),
        }
        for product in _products(file)
    ]
    return pd.DataFrame(rows).astype({"price": "float64"})


def _products(file: pathlib.Path) -> Iterator[Mapping[str, Any]]:
    number = 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                product = json.loads(line)
                if not isinstance(product, dict) or product.get("id") in (None, ""):
                    raise InputError(f"{file}, line {number}: not a product with an id")
                yield product
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file}, after line {number}: {error}; download it again") from error


def _text(product: Mapping[str, Any], name: str) -> str:
    """A text of a product with single spaces; empty if there is none."""
    return " ".join(str(product.get(name) or "").split())


def lines_of(product: Mapping[str, Any]) -> str:
    """A product's attributes as lines `name: value`; empty if there are none."""
    # attr_t_product_colour: the type follows the prefix.
    named = {
        k.removeprefix(ATTRIBUTE)[2:]: v for k, v in product.items() if k.startswith(ATTRIBUTE)
    }
    return attribute_lines(named)


def read_ratings(file: pathlib.Path, products: pd.DataFrame) -> pd.DataFrame:
    """`query`, `item_id` and `grade` of queries with two products or more.

    A pair judged twice has the mean grade.

    Args:
      file: CSV with query, docid and rating.
      products: The result of `read_products`.

    Raises:
      InputError: The file or a column is missing, a rating is not within 0 to 3, or a docid is
        not the id of a product.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the judgements with --ratings FILE")
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: not a CSV file: {error}; download it again") from error
    for column in ("query", "docid", "rating"):
        if column not in rows:
            raise InputError(f"{file}: no column {column!r}; it has {', '.join(rows.columns)}")
    rating = pd.to_numeric(rows["rating"], errors="coerce")
    query, item = rows["query"].str.split().str.join(" "), rows["docid"].str.strip()
    for column, wrong, what in (
        ("rating", ~rating.between(0, 3), "is not a number from 0 to 3"),
        ("query", query == "", "is empty"),
        ("docid", ~item.isin(products["item_id"]), "is not the id of a product"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(
                f"{file}, column {column!r}, row {row + 1}: {shown(rows[column].iloc[row])} "
                f"{what}; fix or drop the row"
            )
    pairs = pd.DataFrame({"query": query, "item_id": item, "grade": rating})
    pairs = pairs.groupby(["query", "item_id"], sort=False, as_index=False)["grade"].mean()
    return pairs[pairs.groupby("query")["item_id"].transform("size") > 1].reset_index(drop=True)


def splits(queries: list[str], folds: int, fold: int) -> dict[str, str]:
    """The split of every query when fold number `fold` of `folds` is the test."""
    dealt = sorted(queries, key=lambda query: hashlib.sha256(query.encode()).digest())
    rest = [query for i, query in enumerate(dealt) if i % folds != fold]
    valid = set(rest[::VALID_ONE_IN])
    found = {query: "valid" if query in valid else "train" for query in rest}
    return {query: found.get(query, "test") for query in queries}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    ratings: pathlib.Path | None = None
    folds: Annotated[int, Range(2)] = FOLDS
    fold: Whole = 0
    judged: bool = False

    def __post_init__(self) -> None:
        if self.fold >= self.folds:
            raise ConfigError(
                f"dataset icecat: fold: expected 0 to {self.folds - 1}, got {self.fold}"
            )


def prepare(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    ratings: pathlib.Path | None = None,
    folds: int = FOLDS,
    fold: int = 0,
    judged: bool = False,
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder with products.jsonl.gz and ratings.csv; only read.
      out: Folder to create.
      ratings: Judgements to use instead of the folder's.
      folds: Number of parts that the queries are divided into.
      fold: Index of the part that is the test, from 0.
      judged: Whether to keep only the judged products.

    Raises:
      InputError: The source cannot be used.
      OutputError: `out` exists.
      DataError: The resulting dataset is not valid.
    """
    catalog = read_products(source)
    lists = read_ratings(source / RATINGS if ratings is None else ratings, catalog)
    if lists["query"].nunique() < folds:
        raise InputError(f"--folds {folds}: there are only {lists['query'].nunique()} queries")
    lists["split"] = lists["query"].map(splits(list(lists["query"].unique()), folds, fold))
    lists.insert(0, "list_id", lists["query"])
    if judged:
        catalog = catalog[catalog["item_id"].isin(lists["item_id"])]
    with new_folder(out) as folder:
        catalog.to_parquet(folder / SCHEMA.catalog.file, index=False)
        lists.to_parquet(folder / SCHEMA.lists.file, index=False)
        save_schema(SCHEMA, folder)
        validate_dataset(folder).raise_if_errors()
    queries = lists["query"].nunique()
    print(f"products {len(catalog):,}; queries {queries:,}; fold {fold} of {folds}")
    for split, rows in lists.groupby("split"):
        number = rows["list_id"].nunique()
        relevant = (rows.groupby("list_id")["grade"].max() > 0).sum()
        print(
            f"{split:<6} lists {number:>4}: {len(rows) / number:.1f} candidates, {relevant} with a "
            f"relevant product; random order NDCG@10 {random_ndcg(rows):.3f}"
        )
    print(f"written to {out}")


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_icecat",
        description="Makes a prepared dataset of queries, judged products and their attributes.",
        epilog="example: python -m pipelines.prepare_icecat --source data/icecat --out prepared",
    )
    parser.add_argument(
        "--source",
        type=pathlib.Path,
        required=True,
        help="folder with products.jsonl.gz and ratings.csv",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument(
        "--ratings", type=pathlib.Path, help="judgements to use instead of the folder's"
    )
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help="number of folds (default %(default)s)"
    )
    parser.add_argument(
        "--fold", type=int, default=0, help="fold that is the test, from 0 (default 0)"
    )
    parser.add_argument(
        "--judged",
        action="store_true",
        help="keep only judged products, a tenth of the catalogue, for quick trials",
    )
    args = parser.parse_args(argv)
    if args.folds < 2:
        parser.error(f"--folds {args.folds}: must be at least 2")
    if not 0 <= args.fold < args.folds:
        parser.error(f"--fold {args.fold}: must be from 0 to {args.folds - 1}")
    return exit_code(
        lambda: prepare(
            args.source,
            args.out,
            ratings=args.ratings,
            folds=args.folds,
            fold=args.fold,
            judged=args.judged,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
