"""Makes datasets of learning to rank on plain numbers, one per fold.

    python -m pipelines.prepare_letor --source FILES-OR-FOLDER --out DIR

Source: svmlight files, `label qid:Q 1:v 2:v ... # comment`, gzipped or not; without qid the sizes
of the lists are next to each file, in `FILE.query` or `FILE.group`. `--source` is one of

- a folder with `S1.txt` to `S5.txt` (MQ2007, MQ2008): fold k trains on three parts, the next part
  is its validation, the one after that its test, as in LETOR's own map;
- a folder with `Fold1` to `Fold5`, each with train, vali and test (MSLR-WEB30K, OHSUMED). Where a
  train file is missing, the folds' test files are used as the five parts, because each part is the
  test once. The train files are then made from the other parts by the same map;
- a folder, or the files, of one train, vali and test (Istella, LightGBM's `rank.train` and
  `rank.test`). Without vali, one training list in five, by a hash of its id, is for validation.

A fold becomes the folder DIR/foldK; a single fold becomes DIR itself. The numbers describe query
and document together, so each row is a separate item: `QID/DOCID`. Lists of one candidate stay in
the file and are dropped when it is read (`short: drop`).
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mmrank.data.svmlight import GROUP_ENDINGS, read_svmlight
from mmrank.data.validation import validate_dataset
from mmrank.outputs import InputError, exit_code, new_folder
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg

SPLITS = {
    "train": "train",
    "vali": "valid",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
VALID_ONE_IN = 5
Fold = Mapping[str, Sequence[pathlib.Path]]  # the files of each split

SCHEMA = Schema(
    name="letor",
    catalog=Catalog(),
    lists=Lists(split="split", short="drop"),
    events=None,
    features=(
        Feature("numbers", "vector", "item", "numbers"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def find_folds(source: Sequence[pathlib.Path]) -> dict[str, Fold]:
    """The files of each fold by its name; a single fold has an empty name.

    Args:
      source: One folder, or files.

    Raises:
      InputError: There is no fold, or a split of a fold is missing.
    """
    for path in source:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give an existing one with --source")
    if len(source) > 1 or source[0].is_file():
        return {"": _one_fold(source, "--source")}
    (folder,) = source
    inside = sorted(folder.iterdir())
    folds = [f for f in inside if f.is_dir() and re.fullmatch(r"(?i)fold[1-9]\d*", f.name)]
    if folds:
        return _folds_of(sorted(folds, key=lambda f: int(f.name[4:])))
    parts = {f.name.split(".")[0].upper(): f for f in inside if f.is_file()}
    numbered = [parts[f"S{n}"] for n in range(1, len(parts) + 1) if f"S{n}" in parts]
    if len(numbered) >= 3:
        return rotated(numbered)
    return {"": _one_fold([f for f in inside if f.is_file()], str(folder))}


def rotated(parts: Sequence[pathlib.Path]) -> dict[str, Fold]:
    """The folds of disjoint parts: fold k tests on the part before part k, cyclically.

    Args:
      parts: Three files or more, S1 first.
    """
    count = len(parts)
    folds: dict[str, Fold] = {}
    for k in range(count):
        *train, valid, test = (parts[(k + i) % count] for i in range(count))
        folds[f"fold{k + 1}"] = {"train": train, "valid": [valid], "test": [test]}
    return folds


def _folds_of(folders: Sequence[pathlib.Path]) -> dict[str, Fold]:
    found = {f"fold{n}": by_split(_files(f)) for n, f in enumerate(folders, start=1)}
    lacking = [n for n, fold in found.items() if "train" not in fold]
    if not lacking:
        return {
            n: _whole(fold, str(f)) for (n, fold), f in zip(found.items(), folders, strict=True)
        }
    tests = [test for fold in found.values() for test in fold.get("test", ())]
    if len(tests) != len(folders) or len(folders) < 3:
        raise InputError(
            f"{folders[0].parent}: {', '.join(lacking)} without a train file, and not every "
            "fold has a test file to make it from; give all files"
        )
    print(
        f"no train file in {len(lacking)} of {len(folders)} folds: using the parts that other "
        "folds test on"
    )
    # Fold 1 tests on the last part, fold k on part k - 1.
    return rotated([*tests[1:], tests[0]])


def by_split(files: Sequence[pathlib.Path]) -> Fold:
    """The files by split, if their names say the split: `vali.txt.gz`, `rank.train`.

    Args:
      files: Files; other files and those of groups are ignored.
    """
    found: dict[str, list[pathlib.Path]] = {}
    for file in files:
        words = file.name.lower().removesuffix(".gz").split(".")
        if f".{words[-1]}" in GROUP_ENDINGS:
            continue
        split = SPLITS.get(words[0]) or SPLITS.get(words[-1])
        if split is not None:
            found.setdefault(split, []).append(file)
    return found


def _one_fold(files: Sequence[pathlib.Path], where: str) -> Fold:
    return _whole(by_split([f for f in files if f.is_file()]), where)


def _whole(fold: Fold, where: str) -> Fold:
    for split in ("train", "test"):
        if split not in fold:
            raise InputError(
                f"{where}: no file for {split}, such as {split}.txt or rank.{split}; files of "
                "parts must be named S1.txt and so on"
            )
    return fold


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(f for f in folder.iterdir() if f.is_file())


def read_fold(fold: Fold) -> pd.DataFrame:
    """The rows of a fold: `list_id`, `item_id`, `grade`, `split` and `numbers`.

    Args:
      fold: The files of each split; without files for valid, a part of train is used.

    Raises:
      InputError: A query is in two splits.
      DataError: A file cannot be read.
    """
    order = [(split, file) for split in ("train", "valid", "test") for file in fold.get(split, ())]
    read = {}
    for split, file in order:
        rows = read_svmlight([file])
        if _has_groups(file):  # whose lists are named by the file's stem only
            rows["qid"] = split + "-" + rows["qid"]
        read[file] = rows.assign(split=split)
    table = pd.concat(read.values(), ignore_index=True)
    splits = table.groupby("qid")["split"].nunique()
    if (splits > 1).any():
        raise InputError(
            f"query {splits.idxmax()!r}: is in two splits, among "
            f"{', '.join(f.name for f in read)}; give files without common queries"
        )
    if "valid" not in fold:
        digests = table["qid"].map(lambda q: hashlib.sha256(str(q).encode()).digest()[0])
        chosen = (digests % VALID_ONE_IN == 0) & (table["split"] == "train")
        table["split"] = table["split"].mask(chosen, "valid")
    width = max(len(vector) for vector in table["features"])
    item = table["qid"] + "/" + table["item_id"]
    # A document that is judged twice is two rows, and each row is an item.
    again = item.groupby(item).cumcount()
    return pd.DataFrame(
        {
            "list_id": table["qid"],
            "item_id": np.where(again > 0, item + "+" + again.astype(str), item),
            "grade": table["label"].astype(np.float32),
            "split": table["split"],
            # Files may omit zeros at the end of a row.
            "numbers": [np.pad(v, (0, width - len(v))) for v in table["features"]],
        }
    )


def _has_groups(file: pathlib.Path) -> bool:
    name = file.name.removesuffix(".gz")
    return any(file.with_name(name + ending).is_file() for ending in GROUP_ENDINGS)


def prepare(source: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Writes a prepared dataset for each fold into the new folder `out`.

    Args:
      source: One folder, or files; only read.
      out: Folder to create.

    Raises:
      InputError: The source cannot be used.
      OutputError: `out` exists.
      DataError: A file cannot be read.
    """
    folds = find_folds(source)
    with new_folder(out) as folder:
        for name, fold in folds.items():
            rows = read_fold(fold)
            target = folder / name
            target.mkdir(exist_ok=True)
            rows[["item_id", "numbers"]].to_parquet(target / SCHEMA.catalog.file, index=False)
            lists = rows[["list_id", "item_id", "grade", "split"]]
            lists.to_parquet(target / SCHEMA.lists.file, index=False)
            save_schema(SCHEMA, target)
            validate_dataset(target).raise_if_errors()
            _print_summary(name, fold, rows)
    print(f"written to {out}")


def _print_summary(name: str, fold: Fold, rows: pd.DataFrame) -> None:
    print(f"{name or 'lists'}: {len(rows['numbers'].iloc[0])} numbers per row")
    for split, part in rows.groupby("split", sort=False):
        number = part["list_id"].nunique()
        relevant = (part.groupby("list_id")["grade"].max() > 0).sum()
        files = ", ".join("/".join(f.parts[-2:]) for f in fold.get(str(split), ())) or "of train"
        print(
            f"  {split:<6} lists {number:>6,}: {len(part) / number:.1f} candidates, {relevant:,} "
            f"with a relevant one; random order NDCG@10 {random_ndcg(part):.3f}  ({files})"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_letor",
        description="Makes prepared datasets from svmlight files, one per fold.",
        epilog="example: python -m pipelines.prepare_letor --source MQ2008 --out data/mq2008",
    )
    parser.add_argument(
        "--source",
        type=pathlib.Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="folder of parts or folds, or files of train, vali and test",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the datasets"
    )
    args = parser.parse_args(argv)
    return exit_code(lambda: prepare(args.source, args.out))


if __name__ == "__main__":
    sys.exit(main())
