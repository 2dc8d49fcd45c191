"""Makes a dataset of Chinese web search: queries of QBQTC with judged and other titles.

    python -m pipelines.prepare_qbqtc --source DIR --out DIR

Source: the public layout of QBQTC, `dev.json.gz` and `test_public.json.gz` (gzipped or not), JSON
lines with query, title and label: "0", "1" or "2", higher is better.

- Nearly every query has one judged title, whose rank in a list of one says nothing. A list here is
  a query's judged titles among titles judged for other queries: half of these are hard, drawn from
  the 50 nearest by BM25, half are random. Nobody judged them for the query, so some may be
  relevant.
- The grade of a judged title is its label. Label 0, a title that was found but judged poor, is
  grade 0 like an unjudged one: nothing says which of them is better. A list whose only judged title
  has label 0 has no relevant item, and NDCG excludes it. The column `label` of the lists marks the
  judged rows; `python -m pipelines.score_qbqtc` measures only on these, including label 0.
- Each pair has two numbers that a search engine would know: `overlap`, the part of the query's
  terms that the title has, weighted by their rarity, and `title_overlap`, the part of the title's
  terms that the query has. Terms are words, characters and pairs of neighbours.
- `test_public` is the test split. A query of `dev` that is also there (ignoring Unicode form, case
  and spaces) is dropped; one in twenty of the others, by a hash of the query, is in valid.
- Candidates of a list are titles of its own split.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pathlib
import sys
import unicodedata
from typing import Annotated

import numpy as np
import pandas as pd

from mmrank.data.validation import validate_dataset
from mmrank.outputs import InputError, exit_code, new_folder, shown
from mmrank.ranges import Range, Seed
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg
from pipelines.qbqtc_lists import make_lists, term_weights

FILES = {"dev": "dev.json", "test": "test_public.json"}
LABELS = ("0", "1", "2")
CANDIDATES = 20
VALID_ONE_IN = 20

SCHEMA = Schema(
    name="qbqtc",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("overlap", "number", "pair", "overlap"),
        Feature("title_overlap", "number", "pair", "title_overlap"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def read_pairs(source: pathlib.Path, name: str) -> pd.DataFrame:
    """`query`, `title` and `label` of one file; of a pair judged twice the higher label.

    Args:
      source: Folder of the public layout.
      name: The file's name without `.gz`.

    Raises:
      InputError: The file or a key is missing, or a label is unknown.
    """
    file = next((f for f in (source / f"{name}.gz", source / name) if f.is_file()), None)
    if file is None:
        raise InputError(
            f"{source / name}.gz: no such file; --source is a folder with "
            f"{' and '.join(f'{n}.gz' for n in FILES.values())}"
        )
    try:
        rows = pd.read_json(file, lines=True, dtype=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: not JSON lines: {error}; download it again") from error
    for key in ("query", "title", "label"):
        if key not in rows:
            raise InputError(f"{file}: no key {key!r}; it has {', '.join(map(str, rows.columns))}")
    label = rows["label"].astype("string").fillna("")
    wrong = np.flatnonzero(~label.isin(LABELS))
    if len(wrong):
        raise InputError(
            f"{file}, key 'label', line {wrong[0] + 1}: {shown(label.iloc[wrong[0]])} is not one "
            f"of {', '.join(LABELS)}; fix or drop the line"
        )
    texts = {key: rows[key].astype("string").fillna("").str.strip() for key in ("query", "title")}
    pairs = pd.DataFrame(texts).astype(object).assign(label=label.astype(np.int8))
    pairs = pairs[(pairs["query"] != "") & (pairs["title"] != "")]
    return pairs.groupby(["query", "title"], sort=False, as_index=False)["label"].max()


def split_pairs(dev: pd.DataFrame, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The pairs of train, valid and test; queries of `test` are in no other."""
    asked = set(test["query"].map(same_query))
    left = dev[~dev["query"].map(same_query).isin(asked)]
    valid = left["query"].map(goes_to_valid)
    return {"train": left[~valid], "valid": left[valid], "test": test}


def same_query(query: str) -> str:
    """A key that is the same for all spellings of a query."""
    return "".join(unicodedata.normalize("NFKC", query).casefold().split())


def goes_to_valid(query: str) -> bool:
    """Whether the lists of this query are for validation."""
    return int(hashlib.sha256(same_query(query).encode()).hexdigest(), 16) % VALID_ONE_IN == 0


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    seed: Seed = 0
    candidates: Annotated[int, Range(2)] = CANDIDATES


def prepare(
    source: pathlib.Path, out: pathlib.Path, *, seed: int = 0, candidates: int = CANDIDATES
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder with dev.json.gz and test_public.json.gz; only read.
      out: Folder to create.
      seed: Seed; the same seed and source give the same dataset.
      candidates: Candidates per list.

    Raises:
      InputError: The source cannot be used.
      OutputError: `out` exists.
      DataError: The resulting dataset is not valid.
    """
    dev, test = (read_pairs(source, name) for name in FILES.values())
    titles = pd.unique(pd.concat([dev["title"], test["title"]]))
    ids = pd.Series([f"T{i:06d}" for i in range(len(titles))], index=titles)
    weights = term_weights(list(titles))
    rng = np.random.default_rng(seed)
    with new_folder(out) as folder:
        parts = {
            split: make_lists(
                pairs.assign(item_id=ids[pairs["title"]].to_numpy()),
                split,
                candidates,
                weights,
                rng,
            )
            for split, pairs in split_pairs(dev, test).items()
            if len(pairs)
        }
        lists = pd.concat(parts.values(), ignore_index=True)
        lists = lists.astype({"grade": np.int8, "label": "Int8"})
        catalog = pd.DataFrame({"item_id": ids.to_numpy(), "title": titles})
        catalog.to_parquet(folder / SCHEMA.catalog.file, index=False)
        lists.to_parquet(folder / SCHEMA.lists.file, index=False)
        save_schema(SCHEMA, folder)
        validate_dataset(folder).raise_if_errors()
    _print_summary(dev, test, catalog, lists, out)


def _print_summary(
    dev: pd.DataFrame,
    test: pd.DataFrame,
    catalog: pd.DataFrame,
    lists: pd.DataFrame,
    out: pathlib.Path,
) -> None:
    kept = lists.loc[lists["split"] != "test", "query"].nunique()
    print(
        f"titles {len(catalog):,}; queries {dev['query'].nunique():,} in dev, "
        f"{dev['query'].nunique() - kept:,} of them dropped for the test; "
        f"{test['query'].nunique():,} in the test"
    )
    for split, rows in lists.groupby("split", sort=False):
        number = rows["list_id"].nunique()
        judged = rows["label"].dropna()
        counts = judged.value_counts().reindex([2, 1, 0], fill_value=0)
        relevant = (rows.groupby("list_id")["grade"].max() > 0).sum()
        print(
            f"{split:<6} lists {number:>7,}: {len(rows) / number:.0f} candidates, "
            f"{relevant:,} with a relevant title; judged {len(judged):,}, of label 2/1/0: "
            f"{' / '.join(f'{c:,}' for c in counts)}; "
            f"random order NDCG@10 {random_ndcg(rows):.3f}"
        )
    print(
        f"written to {out}. Next:\n"
        f"  python -m mmrank.train --config configs/qbqtc.yaml --data {out} --out runs/qbqtc\n"
        f"  python -m pipelines.score_qbqtc --run runs/qbqtc"
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_qbqtc",
        description="Makes a prepared dataset of Chinese search queries and titles.",
        epilog="example: python -m pipelines.prepare_qbqtc --source data/qbqtc --out prepared",
    )
    parser.add_argument(
        "--source",
        type=pathlib.Path,
        required=True,
        help="folder with dev.json.gz and test_public.json.gz",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="new folder for the dataset"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument(
        "--candidates",
        type=int,
        default=CANDIDATES,
        help="candidates per list (default %(default)s)",
    )
    args = parser.parse_args(argv)
    if args.candidates < 2:
        parser.error(f"--candidates {args.candidates}: must be at least 2")
    return exit_code(
        lambda: prepare(args.source, args.out, seed=args.seed, candidates=args.candidates)
    )


if __name__ == "__main__":
    sys.exit(main())
