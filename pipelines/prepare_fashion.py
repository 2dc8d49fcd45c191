"""Makes a dataset of attribute queries over real fashion products and photos.

    python -m pipelines.prepare_fashion --source DIR --out DIR

Source: `products.csv` (product_id, title, master_category, sub_category, article_type, colour,
usage) and `images.zip` with `images/<product_id>.jpg`, of any size.

- A query is a phrase made from the attribute columns: type and colour ("red kurta", 70%), type and
  usage (15%), or all three (15%). A phrase is drawn with a probability that grows with the square
  root of the number of products that fulfil it. The columns are the ground truth and are not in the
  catalogue.
- Grades: 3 the whole phrase; 2 the type (of three parts: the type and one other); 1 the other part
  (of three: only the type, or both others); 0 less.
- In the title of every second item (those with an even SHA-256 of the id) the words of its own
  attributes and of all colours are removed, and every word that reveals an attribute without naming
  it ("dial", a brand that sells only shoes), so that only the photo shows them.
- A list has 60 candidates: 5 that fulfil the phrase (1 to 4 if there are no more), 30 near misses
  (12 of grade 2 and 18 of grade 1, if there are enough), and random ones, graded like the others.
  All come from one of three disjoint pools, train, valid and test (80/10/10 by a hash of the id):
  no test product is in training. `--split test` makes one test pool of all products.
- Each group of 64 consecutive training lists shares a shelf of 800 products of the pool, because
  the pages of a real log show the same products repeatedly.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pathlib
import shutil
import sys
import zipfile
from typing import Annotated

import numpy as np
import pandas as pd

from mmrank.outputs import InputError, exit_code, new_folder, shown
from mmrank.ranges import Count, OneOf, Seed
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg
from pipelines.fashion_lists import make_lists
from pipelines.fashion_titles import colour_words, indicative_words, strip_title

ATTRIBUTES = ("colour", "article_type", "sub_category", "usage")
COLUMNS = ("product_id", "title", *ATTRIBUTES)
LISTS = {"train": 12_800, "valid": 800, "test": 1_500}
SHELF = 800

SCHEMA = Schema(
    name="fashion",
    media="images.zip",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("photo", "image", "item", "photo"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def read_products(source: pathlib.Path) -> pd.DataFrame:
    """The products with their attributes and `photo`, the path inside the archive or None.

    Raises:
      InputError: A file or a column is missing, or an id is repeated.
    """
    file, archive = source / "products.csv", source / "images.zip"
    for path in (file, archive):
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; --source is a folder with products.csv and images.zip"
            )
    items = pd.read_csv(file, dtype=str, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in items]
    if missing:
        raise InputError(f"{file}: no column {missing[0]!r}; it has {', '.join(items.columns)}")
    twice = items["product_id"].duplicated()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{file}, column 'product_id', row {row + 2}: {shown(items['product_id'].iloc[row])} "
            "is repeated; keep one row per product"
        )
    try:
        with zipfile.ZipFile(archive) as opened:
            members = set(opened.namelist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive}: not a zip archive ({error}); download it again") from error
    paths = "images/" + items["product_id"] + ".jpg"
    return items.assign(photo=paths.where(paths.isin(members), None))


def catalog_of(items: pd.DataFrame) -> pd.DataFrame:
    """The catalogue: id, title (every second one stripped) and photo, without the attributes."""
    colours = colour_words(items["colour"].unique())
    indicative = indicative_words(items["title"], items[list(ATTRIBUTES)])
    attributes = zip(*(items[column] for column in ATTRIBUTES), strict=True)
    titles = [
        strip_title(title, own, colours, indicative) if loses_words(product_id) else title
        for product_id, title, own in zip(
            items["product_id"], items["title"], attributes, strict=True
        )
    ]
    return pd.DataFrame({"item_id": items["product_id"], "title": titles, "photo": items["photo"]})


def loses_words(product_id: str) -> bool:
    """Whether the title of this product is stripped of its attribute words."""
    return _hash(product_id) % 2 == 0


def pool_of(product_id: str) -> str:
    """The split whose lists may show this product; independent of `loses_words`."""
    digit = _hash(product_id) // 2 % 10
    return "train" if digit < 8 else "valid" if digit == 8 else "test"


def _hash(product_id: str) -> int:
    return int(hashlib.sha256(product_id.encode()).hexdigest(), 16)


def list_counts(pools: dict[str, int], queries: int | None) -> dict[str, int]:
    """The number of lists of each split.

    Args:
      pools: The number of products of each split's pool.
      queries: Number of lists in all, divided like the default; None for the default, which is at
        most one list per product of the pool.
    """
    if queries is None:
        return {split: min(LISTS[split], size) for split, size in pools.items()}
    whole = sum(LISTS[split] for split in pools)
    return {split: max(1, round(queries * LISTS[split] / whole)) for split in pools}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    seed: Seed = 0
    queries: Count | None = None
    split: Annotated[str, OneOf(("auto", *LISTS))] = "auto"


def prepare(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    seed: int = 0,
    queries: int | None = None,
    split: str = "auto",
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder with products.csv and images.zip; only read.
      out: Folder to create.
      seed: Seed; the same seed and source give the same dataset.
      queries: Number of lists in all; None for the default.
      split: "auto", or the one split that gets everything.

    Raises:
      InputError: The source cannot be used, or `out` exists.
    """
    items = read_products(source)
    pool = items["product_id"].map(pool_of) if split == "auto" else pd.Series(split, items.index)
    pools = {name: items[pool == name] for name in LISTS if (pool == name).any()}
    rng = np.random.default_rng(seed)
    with new_folder(out) as folder:
        catalog = catalog_of(items)
        counts = list_counts({name: len(rows) for name, rows in pools.items()}, queries)
        lists = pd.concat(
            [
                make_lists(rows, name, counts[name], rng, SHELF if name == "train" else None)
                for name, rows in pools.items()
            ],
            ignore_index=True,
        )
        if lists.empty:
            raise InputError(
                f"{source / 'products.csv'}: {len(items)} products are too few or too different: "
                "no phrase has enough near misses; try --split test, which makes one pool of all"
            )
        catalog.to_parquet(folder / SCHEMA.catalog.file, index=False)
        lists.astype({"grade": np.int8}).to_parquet(folder / SCHEMA.lists.file, index=False)
        shutil.copyfile(source / "images.zip", folder / "images.zip")
        save_schema(SCHEMA, folder)
    _print_summary(catalog, lists, out)


def _print_summary(catalog: pd.DataFrame, lists: pd.DataFrame, out: pathlib.Path) -> None:
    stripped = catalog["item_id"].map(loses_words)
    print(f"items       {len(catalog):>9,}   {catalog['photo'].isna().sum():,} without a photo")
    print(
        f"titles      {stripped.sum():>9,} stripped, {(catalog['title'] == '').sum():,} now empty"
    )
    for split, rows in lists.groupby("split", sort=False):
        number = rows["list_id"].nunique()
        shares = rows["grade"].value_counts().reindex([3, 2, 1, 0], fill_value=0) / number
        print(
            f"{split:<6} lists{number:>9,}   {rows['query'].nunique():,} queries, "
            f"{len(rows) / number:.0f} candidates per list, of grade 3/2/1/0: "
            f"{' / '.join(f'{s:.1f}' for s in shares)}; "
            f"random order NDCG@10 {random_ndcg(rows):.3f}"
        )
    if "train" in set(lists["split"]):
        following = f"python -m mmrank.train --config configs/fashion.yaml --data {out}"
    else:
        following = f"python -m mmrank.evaluate --run RUN --data {out} --split {split}"
    print(f"written to {out}. Next:\n  {following}")


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_fashion",
        description="Makes a prepared dataset of attribute queries over fashion products.",
        epilog="example: python -m pipelines.prepare_fashion --source data/fashion --out prepared",
    )
    parser.add_argument(
        "--source", type=pathlib.Path, required=True, help="folder with products.csv and images.zip"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--queries", type=int, help="number of lists in all (default up to 15,100)")
    parser.add_argument(
        "--split",
        choices=["auto", *LISTS],
        default="auto",
        help="auto: three disjoint pools; else everything goes into this split",
    )
    args = parser.parse_args(argv)
    if args.queries is not None and args.queries < 1:
        parser.error(f"--queries {args.queries}: must be at least 1")
    return exit_code(
        lambda: prepare(
            args.source, args.out, seed=args.seed, queries=args.queries, split=args.split
        )
    )


if __name__ == "__main__":
    sys.exit(main())
