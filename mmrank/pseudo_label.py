"""Grades from a trained ranker: `python -m mmrank.pseudo_label --run RUN --out DIR`."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.data.checks import ADDED, as_numbers
from mmrank.data.kinds import kind_of
from mmrank.data.run_state import check_run_folder
from mmrank.data.tables import DataError, Dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.confidence import Threshold, find_thresholds, given_grades
from mmrank.outputs import exit_code, log_progress, new_folder, refuse_filled
from mmrank.schema import PSEUDO, Feature, Reading, Schema, save_schema

LISTS_FILE = "lists.parquet"
OTHER = "judged"  # the link to the dataset that the lists are from
EXAMPLE = """\
example:
  python -m mmrank.pseudo_label --run runs/shop --out data/shop-more --confidence 0.9 --add 20

Writes a dataset with more grades in its training lists. Unjudged candidates are those without a
grade and, with --add N, N random items of the catalogue for each list that does not hold them. An
unjudged candidate gets a grade if scores as high as its own have a precision of at least
--confidence on the validation lists, by the lower bound of Clopper and Pearson (95% for all
thresholds together). The other unjudged candidates are dropped. The label `pseudo` marks the new
rows, and training.pseudo_weight sets their weight. The bound holds for candidates like the judged
ones: random items are less often relevant.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.pseudo_label",
        description="Grades the unjudged candidates that a trained ranker is confident about.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("--run", required=True, type=path, help="folder of a trained run")
    parser.add_argument("--data", type=path, metavar="DIR", help="dataset (default: the run's own)")
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="new dataset")
    parser.add_argument(
        "--confidence", type=float, default=0.9, help="least precision (default: %(default)s)"
    )
    parser.add_argument(
        "--add",
        type=int,
        default=0,
        metavar="N",
        help="random items to add to each list for grading (default: 0)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random items (default: %(default)s)"
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    if not 0 < args.confidence < 1:
        raise DataError(f"--confidence {args.confidence:g}: must be above 0 and below 1")
    if args.add < 0:
        raise DataError(f"--add {args.add}: must be at least 0")
    refuse_filled(args.out)
    check_run_folder(args.run)

    from mmrank.trained_run import load_run

    run = load_run(args.run)
    dataset = checked_dataset(
        run.data if args.data is None else args.data,
        training=False,
        graded=False,
        read=run.fitted.read,
    )
    column = dataset.schema.feature("grade").column
    if PSEUDO in dataset.lists:
        raise DataError(f"{dataset.schema.lists.file}: already has grades of a ranker ({PSEUDO!r})")

    judged = dataset.lists[np.isfinite(as_numbers(dataset.lists[column]))]
    valid = judged[judged["_split"] == "valid"]
    if valid.empty:
        raise DataError(f"{dataset.folder}: no validation lists to calibrate on")
    thresholds = find_thresholds(
        run.score(dataset, valid), as_numbers(valid[column]), args.confidence
    )
    if not thresholds:
        raise DataError(
            f"no score of the {len(valid):,} validation rows reaches a precision of "
            f"{args.confidence:g}; lower --confidence, or judge more candidates"
        )
    asked = with_unjudged(dataset, args.add, args.seed)
    unjudged = ~np.isfinite(as_numbers(asked[column]))
    grades = given_grades(run.score(dataset, asked)[unjudged], thresholds)
    new = asked[unjudged].assign(**{column: grades, PSEUDO: 1})[np.isfinite(grades)]
    _write(dataset, pd.concat([judged.assign(**{PSEUDO: 0}), new]), args.out)
    print(_table(thresholds, grades))
    print(f"unjudged  {len(grades):,}, of which {int(np.isfinite(grades).sum()):,} got a grade")
    print(f"wrote     {args.out}")


def with_unjudged(dataset: Dataset, add: int, seed: int) -> pd.DataFrame:
    """The training lists with `add` further items each; each list's rows are adjacent.

    The further rows have the values that belong to a list (its query, user, time and split); values
    that belong to a candidate are missing.

    Args:
      dataset: The dataset.
      add: How many items to add to each list, none of which it holds; fewer if the catalogue does
        not have enough.
      seed: Seed of the random choice.
    """
    rows, schema = dataset.rows("train"), dataset.schema
    if not add or rows.empty:
        return rows
    rng, items = np.random.default_rng(seed), len(dataset.catalog)
    number, _ = pd.factorize(rows[schema.lists.list])
    held = rows["_item"].groupby(number).agg(set)
    drawn = []
    for members in tqdm(held, desc="items to grade", unit="list", disable=None, leave=False):
        # Of this many distinct items at least `add` are not in the list, if enough exist.
        some = (
            rng.permutation(items)
            if items < 4 * (add + len(members))
            else rng.choice(items, add + len(members), replace=False)
        )
        drawn.append(np.array([i for i in some if i not in members][:add], np.int64))
    of_list = np.repeat(np.arange(len(held)), [len(d) for d in drawn])
    shared = {schema.lists.list, schema.lists.user, schema.lists.time, schema.lists.split}
    shared |= {f.column for f in schema.side("query", "user")} | {"_split", "_time"}
    first = rows[~pd.Series(number, rows.index).duplicated()]
    more = first[[c for c in rows.columns if c in shared]].iloc[of_list]
    picked = np.concatenate(drawn)
    more = more.assign(
        **{"_item": picked.astype(np.int32), schema.lists.item: dataset.item_ids[picked]}
    )
    together = pd.concat([rows.assign(_of=number), more.assign(_of=of_list)], ignore_index=True)
    return together.sort_values("_of", kind="stable").drop(columns="_of").reset_index(drop=True)


def _write(dataset: Dataset, lists: pd.DataFrame, out: pathlib.Path) -> None:
    """Writes a dataset of these lists, with a link to the original for its tables and media."""
    schema = dataset.schema
    number, _ = pd.factorize(lists[schema.lists.list])
    lists = lists.iloc[np.argsort(number, kind="stable")].drop(columns=list(ADDED), errors="ignore")
    with new_folder(out) as folder:
        lists.to_parquet(folder / LISTS_FILE, index=False)
        (folder / OTHER).symlink_to(dataset.folder.resolve())
        save_schema(_elsewhere(schema), folder)


def _elsewhere(schema: Schema) -> Schema:
    folder, media = pathlib.PurePath(OTHER), schema.media
    if media is not None or any(kind_of(f.kind).media for f in schema.features):
        media = str(folder / (media or "."))
    events = schema.events
    as_parquet: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Reading))
    return dataclasses.replace(
        schema,
        catalog=dataclasses.replace(schema.catalog, file=str(folder / schema.catalog.file)),
        lists=dataclasses.replace(schema.lists, file=LISTS_FILE, **as_parquet),
        events=events and dataclasses.replace(events, file=str(folder / events.file)),
        media=media,
        features=(*schema.features, Feature(PSEUDO, "number", "label", PSEUDO)),
    )


def _table(thresholds: list[Threshold], grades: np.ndarray) -> str:
    lines = ["grade      score  precision at least  judged rows  new rows"]
    for t in thresholds:
        sign = "<=" if t.grade == 0 else ">="
        lines.append(
            f"{t.grade:<5g} {sign} {t.score:>8.3f}  {t.precision:>18.3f}  {t.rows:>11,}  "
            f"{int((grades == t.grade).sum()):>8,}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
