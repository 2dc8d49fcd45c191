"""Makes a dataset of visual search over groceries: shop photos as queries or as candidates.

    python -m pipelines.prepare_grocery --source DIR --out DIR

Source: the public layout of the Grocery Store Dataset: `classes.csv` (a product's name, id, coarse
class, iconic picture and description), `train.txt`, `val.txt` and `test.txt` (path, fine and coarse
class of a photo), and the files that they name.

- `--task photo`: a list has one photo taken in a shop as its query and all products as candidates;
  a product has an id, a name, a description and one iconic picture.
- `--task text`: a list has one product's name and description as its query and photos as
  candidates. In valid and test all photos of the split are candidates, and products without a photo
  there have no list. Training photos are divided at random into shelves of about 132, again in
  every round; every product has a list for each shelf.
- Grades: 2 the product itself; 1 another one of its coarse class (all apples); 0 the rest.
- The split is the public one, because many photos are neighbouring shots of one shelf.
- `*_Information.txt` is not read: it has the shop's page of the product.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import zipfile
from typing import Annotated

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.outputs import InputError, exit_code, new_folder, shown
from mmrank.ranges import OneOf, Seed
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg

CLASSES, ARCHIVE = "classes.csv", "images.zip"
COLUMNS = {
    "Class Name (str)": "name",
    "Class ID (int)": "fine",
    "Coarse Class ID (int)": "coarse",
    "Iconic Image Path (str)": "iconic",
    "Product Description Path (str)": "text",
}
SPLITS = {"train": "train", "val": "valid", "test": "test"}
SHELF, ROUNDS = 132, 3

GRADE = Feature("grade", "number", "label", "grade")
SCHEMAS = {
    "photo": Schema(
        name="grocery_photo",
        media=ARCHIVE,
        catalog=Catalog(),
        lists=Lists(split="split"),
        events=None,
        features=(
            Feature("photo", "image", "query", "photo"),
            Feature("product", "category", "item", "item_id"),
            Feature("title", "text", "item", "title"),
            Feature("description", "text", "item", "description"),
            Feature("iconic", "image", "item", "iconic"),
            GRADE,
        ),
    ),
    "text": Schema(
        name="grocery_text",
        media=ARCHIVE,
        catalog=Catalog(),
        lists=Lists(split="split"),
        events=None,
        features=(
            Feature("query", "text", "query", "query"),
            Feature("photo", "image", "item", "photo"),
            GRADE,
        ),
    ),
}


def read_products(source: pathlib.Path) -> pd.DataFrame:
    """The products: item_id, fine, coarse, title, description and iconic, a path below `source`.

    Raises:
      InputError: A file or a column is missing, or a product is repeated.
    """
    file = source / CLASSES
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; --source is the folder with {CLASSES} and train.txt"
        )
    table = pd.read_csv(file)
    for column in COLUMNS:
        if column not in table:
            raise InputError(f"{file}: no column {column!r}; it has {', '.join(table.columns)}")
    table = table[list(COLUMNS)].rename(columns=COLUMNS)
    for column in ("name", "fine"):
        twice = table[column].duplicated()
        if twice.any():
            row = int(np.flatnonzero(twice)[0])
            raise InputError(
                f"{file}, row {row + 2}: {shown(table[column].iloc[row])} is repeated; "
                "keep one row per product"
            )
    # The paths begin with a slash, but are relative to the source.
    texts = [source / path.lstrip("/") for path in table["text"]]
    for text in texts:
        if not text.is_file():
            raise InputError(f"{text}: no such file, but {file} names it; copy it there")
    return pd.DataFrame(
        {
            "item_id": table["name"],
            "fine": table["fine"],
            "coarse": table["coarse"],
            "title": table["name"].str.replace("-", " "),
            "description": [" ".join(t.read_text(encoding="utf-8").split()) for t in texts],
            "iconic": table["iconic"].str.lstrip("/"),
        }
    )


def read_photos(source: pathlib.Path, products: pd.DataFrame) -> pd.DataFrame:
    """The photos of all splits: photo, a path below `source`; product, its row; split.

    Raises:
      InputError: A file is missing, or a row is not a photo with its class.
    """
    rows = pd.Series(np.arange(len(products)), index=products["fine"].astype(str))
    parts = []
    for name, split in SPLITS.items():
        file = source / f"{name}.txt"
        if not file.is_file():
            raise InputError(f"{file}: no such file; --source is the folder with {CLASSES}")
        lines = file.read_text(encoding="utf-8").splitlines()
        cells = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
        for number, row in enumerate(cells):
            if len(row) != 3 or row[1] not in rows:
                raise InputError(
                    f"{file}, row {number + 1}: {', '.join(row)!r} is not `path, class, coarse "
                    f"class` of a class in {CLASSES}"
                )
        paths = [row[0].lstrip("/") for row in cells]
        found = rows[[row[1] for row in cells]].to_numpy()
        parts.append(pd.DataFrame({"photo": paths, "product": found, "split": split}))
    photos = pd.concat(parts, ignore_index=True)
    twice = photos["photo"].duplicated()
    if twice.any():
        raise InputError(
            f"{source}: {shown(photos['photo'][twice].iloc[0])} is repeated in train.txt, val.txt "
            "and test.txt; a photo may be in one split only"
        )
    return photos


def grades(products: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Grades int8 of products (rows) `a` for products `b`, of any one shape.

    2 the same product, 1 another one of its coarse class, 0 any other.
    """
    coarse = products["coarse"].to_numpy()
    return (a == b).astype(np.int8) + (coarse[a] == coarse[b]).astype(np.int8)


def photo_lists(products: pd.DataFrame, photos: pd.DataFrame) -> pd.DataFrame:
    """The lists of the task photo: each photo with all products as candidates."""
    count = len(products)
    asked = np.repeat(photos["product"].to_numpy(), count)
    offered = np.tile(np.arange(count), len(photos))
    return pd.DataFrame(
        {
            "list_id": np.repeat(photos["photo"].to_numpy(), count),
            "item_id": products["item_id"].to_numpy()[offered],
            "photo": np.repeat(photos["photo"].to_numpy(), count),
            "split": np.repeat(photos["split"].to_numpy(), count),
            "grade": grades(products, asked, offered),
        }
    )


def text_lists(
    products: pd.DataFrame, photos: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """The lists of the task text: each product with a shelf of training photos or all others."""
    shelves = []
    for split, rows in photos.groupby("split", sort=False):
        if split != "train":
            shelves.append((split, str(split), rows))
            continue
        for dealt in range(ROUNDS):
            order = rng.permutation(len(rows))
            parts = np.array_split(order, max(round(len(rows) / SHELF), 1))
            shelves += [(split, f"{split}-{dealt}-{i}", rows.iloc[p]) for i, p in enumerate(parts)]
    texts = (products["title"] + ". " + products["description"]).to_numpy()
    ids = products["item_id"].to_numpy()
    lists = []
    for split, name, rows in tqdm(shelves, desc="lists", unit=" shelves", disable=None):
        offered = rows["product"].to_numpy()
        # A shelf without the product teaches no order, but all shelves have as many lists.
        asking = np.arange(len(products)) if split == "train" else np.unique(offered)
        asked, shown = np.repeat(asking, len(rows)), np.tile(np.arange(len(rows)), len(asking))
        lists.append(
            pd.DataFrame(
                {
                    "list_id": name + "-" + pd.Series(ids[asked]),
                    "item_id": rows["photo"].to_numpy()[shown],
                    "query": texts[asked],
                    "split": split,
                    "grade": grades(products, asked, offered[shown]),
                }
            )
        )
    return pd.concat(lists, ignore_index=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    task: Annotated[str, OneOf(tuple(SCHEMAS))] = "photo"
    seed: Seed = 0


def prepare(source: pathlib.Path, out: pathlib.Path, *, task: str = "photo", seed: int = 0) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder of the public layout; only read.
      out: Folder to create.
      task: photo or text.
      seed: Seed of the shelves of the task text.

    Raises:
      InputError: The source cannot be used, or `out` exists.
    """
    products = read_products(source)
    photos = read_photos(source, products)
    schema = SCHEMAS[task]
    with new_folder(out) as folder:
        if task == "photo":
            catalog = products[["item_id", "title", "description", "iconic"]]
            lists = photo_lists(products, photos)
            files = [*photos["photo"], *products["iconic"]]
        else:
            catalog = pd.DataFrame({"item_id": photos["photo"], "photo": photos["photo"]})
            lists = text_lists(products, photos, np.random.default_rng(seed))
            files = [*photos["photo"]]
        catalog.to_parquet(folder / schema.catalog.file, index=False)
        lists.to_parquet(folder / schema.lists.file, index=False)
        missing = _pack(source, files, folder / ARCHIVE)
        save_schema(schema, folder)
    _print_summary(catalog, lists, missing, out, task)


def _pack(source: pathlib.Path, files: list[str], archive: pathlib.Path) -> int:
    """Packs the existing files unchanged, and counts the missing ones."""
    missing = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name in tqdm(files, desc="packing photos", unit=" files", disable=None):
            if (source / name).is_file():
                packed.write(source / name, name)
            else:
                missing += 1
    return missing


def _print_summary(
    catalog: pd.DataFrame, lists: pd.DataFrame, missing: int, out: pathlib.Path, task: str
) -> None:
    print(f"items       {len(catalog):>7,}   {missing:,} photos are missing and count as absent")
    for split, rows in lists.groupby("split", sort=False):
        number = rows["list_id"].nunique()
        shares = rows["grade"].value_counts().reindex([2, 1, 0], fill_value=0) / number
        print(
            f"{split:<6} lists{number:>7,}   {len(rows) / number:.0f} candidates per list, "
            f"of grade 2/1/0: {' / '.join(f'{s:.1f}' for s in shares)}; "
            f"random order NDCG@10 {random_ndcg(rows):.3f}"
        )
    print(
        f"written to {out}. Next:\n"
        f"  python -m mmrank.train --config configs/grocery_{task}.yaml --data {out}"
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_grocery",
        description="Makes a prepared dataset of a visual search over groceries.",
        epilog="example: python -m pipelines.prepare_grocery --source data/grocery --out prepared "
        "--task photo",
    )
    parser.add_argument(
        "--source",
        type=pathlib.Path,
        required=True,
        help=f"folder with {CLASSES}, train.txt, val.txt and test.txt",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument(
        "--task",
        choices=list(SCHEMAS),
        default="photo",
        help="photo: find a product for a photo; text: find photos for a product's text "
        "(default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    args = parser.parse_args(argv)
    return exit_code(lambda: prepare(args.source, args.out, task=args.task, seed=args.seed))


if __name__ == "__main__":
    sys.exit(main())
