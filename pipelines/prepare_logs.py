"""Makes a dataset of a shop's own log: a list for each result page that was shown.

    python -m pipelines.prepare_logs --log FILE --catalog FILE --out DIR --feature title:text ...

The log has a row for each item of each page: the page, the item, the position from 1, whether it
was clicked, and if known the query, the user, the time, the dwell time in seconds, cart and
purchase. The log of shown pages that a server writes, a folder, is read as it is.

- A grade is the furthest step: 0 shown, 1 clicked, 2 put into the cart, 3 bought. It has position
  bias; `training.tasks` learns from clicks and corrects for it.
- Lists are divided by time: the latest are the test lists, those before them validation. Without a
  time they are divided by a hash of the list.
- Clicks, carts and purchases become events for histories, at the page's time, the latter two after
  the dwell time. A list uses only events strictly before its own time.
- A page with fewer than two items is dropped and counted. Any other row that cannot be used ends
  the command with file, column, row and remedy: only the owner of the log can correct it.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids, seconds
from mmrank.data.columns import types_of_features
from mmrank.data.findings import offenders
from mmrank.data.page_log import read_page_log
from mmrank.data.pseudonyms import VARIABLE, Pseudonyms
from mmrank.data.reading import columns_of, read_table
from mmrank.data.tables import DataError
from mmrank.data.validation import validate_dataset
from mmrank.outputs import exit_code, new_folder
from mmrank.schema import (
    Catalog,
    Events,
    Feature,
    Lists,
    Schema,
    as_name,
    did_you_mean,
    save_schema,
)

STEPS = ("click", "cart", "purchase")
NUMBERS = ("position", "click", "dwell", "cart", "purchase")
NEEDED = ("list", "item", "position", "click")
TEXTS = ("list", "item", "query", "user")
TEST_SHARE, VALID_SHARE = 0.1, 0.1
EXAMPLE = """example:
  python -m pipelines.prepare_logs --log pages.parquet --catalog products.csv --out data/shop \\
      --list search_id --item sku --query terms --position rank --click clicked --time at \\
      --feature title:text --feature price:number --feature brand:category

  python -m pipelines.prepare_logs --log pages/ --catalog products.csv --out data/shop \\
      --feature title:text --feature price:number

A feature is COLUMN:KIND for a column of the catalogue, and COLUMN:KIND:pair (or query, user) for a
column of the log. The columns of a server's log, a folder, are known. Then:
  python -m mmrank.propensity --data data/shop --out propensities.csv
"""


@dataclasses.dataclass(frozen=True)
class Columns:
    """The log's columns by their content; None for what the log does not have."""

    list: str = "list_id"
    item: str = "item_id"
    position: str = "position"
    click: str = "click"
    query: str | None = None
    user: str | None = None
    time: str | None = None
    dwell: str | None = None
    cart: str | None = None
    purchase: str | None = None

    def named(self) -> dict[str, str]:
        """The existing columns by their content."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


def text_columns(columns: Columns) -> list[str]:
    """The log's columns of texts."""
    named = columns.named()
    return [named[role] for role in TEXTS if role in named]


def log_types(columns: Columns, features: Iterable[Feature]) -> tuple[set[str], set[str]]:
    """The log's columns of texts and of numbers, including those of its features."""
    single, texts, numbers = types_of_features(
        f for f in features if f.side not in ("item", "label") and f.name != "query"
    )
    named = columns.named()
    of_roles = {named[role] for role in (*NUMBERS, "time") if role in named}
    words = {*text_columns(columns), *single, *texts}
    return words, set(numbers | of_roles) - words


def catalog_types(item: str, features: Iterable[Feature]) -> tuple[set[str], set[str]]:
    """The catalogue's columns of texts and of numbers.

    Args:
      item: The column of item ids.
      features: Features of any side.
    """
    single, texts, numbers = types_of_features(f for f in features if f.side == "item")
    return {item, *single, *texts}, set(numbers - {item})


def read_pages(
    file: pathlib.Path,
    columns: Columns,
    others: Sequence[str] = (),
    without: Sequence[str] = (),
    features: Sequence[Feature] = (),
) -> pd.DataFrame:
    """The log's rows under the names of `Columns`, by time, page and position.

    Args:
      file: .parquet, .csv, .tsv or .jsonl; or the folder of a server's log.
      columns: The content of its columns; those of a server's log are known.
      others: Further columns to keep.
      without: Columns that are not read.
      features: The features that read the further columns.

    Raises:
      DataError: The file, a column or a value cannot be used.
    """
    if file.is_dir():
        raw = server_rows(file).drop(columns=list(without), errors="ignore")
        filled = {name for name in raw if raw[name].notna().any()}
        roles = {f.name: f.name for f in dataclasses.fields(Columns) if f.name in filled}
        columns, others = Columns(**roles), [*others, "probability", "randomised"]
        return clean_pages(raw, file, columns, others).reset_index(drop=True)
    texts, numbers = log_types(columns, features)
    raw = read_table(file, texts, without, numbers=numbers)
    return clean_pages(raw, file, columns, others).reset_index(drop=True)


def server_rows(folder: pathlib.Path) -> pd.DataFrame:
    """The rows of the log of shown pages that a server wrote into a folder.

    Raises:
      DataError: The log cannot be read.
    """
    log = read_page_log(folder)
    if log.left_out():
        print(f"{folder}: left out: {log.left_out()}", file=sys.stderr)
    return log.rows()


def clean_pages(
    raw: pd.DataFrame, file: pathlib.Path, columns: Columns, others: Sequence[str] = ()
) -> pd.DataFrame:
    """The same as `read_pages` for the rows of some pages; the index is kept.

    Args:
      raw: Rows of the log, all rows of every page in it, indexed by their number in the file.
      file: The log's file, for messages.
      columns: The content of its columns.
      others: Further columns to keep.

    Raises:
      DataError: A column or a value cannot be used.
    """
    named = columns.named()
    for column in [*named.values(), *others]:
        if column not in raw:
            raise DataError(f"{file}: no column {column!r}{did_you_mean(column, raw.columns)}")
    rows = pd.DataFrame({role: raw[column] for role, column in named.items()})
    rows = rows.join(raw[[c for c in others if c not in rows]])

    def refuse(role: str, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            raise DataError(offenders(str(file), named[role], wrong, raw[named[role]], what))

    for role in ("list", "item"):
        rows[role] = as_ids(rows[role])
        refuse(role, rows[role].isna().to_numpy(), f"no {role}; fill it or drop the row")
    for role in NUMBERS:
        if role in rows:
            numbers = pd.to_numeric(rows[role], errors="coerce").to_numpy(float, na_value=np.nan)
            if role == "position":
                wrong = ~((numbers >= 1) & (numbers == np.floor(numbers)))
                refuse(role, wrong, "is not a position; use whole numbers from 1")
            elif role == "dwell":  # empty without a click
                numbers = np.where(rows[role].isna(), 0.0, numbers)
                refuse(role, ~(numbers >= 0), "is not a dwell time; use seconds, at least 0")
            else:
                refuse(role, ~(numbers >= 0), "is not a number; use 1 for yes and 0 for no")
            rows[role] = numbers
    if "time" in rows:
        rows["time"] = seconds(rows["time"])
        what = "is not a time; use seconds since 1970 or an ISO date"
        refuse("time", rows["time"].isna().to_numpy(), what)
    if "user" in rows:
        rows["user"] = as_ids(rows["user"])
    repeated = rows.duplicated(["list", "position"]).to_numpy()
    refuse("position", repeated, "is repeated in its list; give every item a different position")
    repeated = rows.duplicated(["list", "item"]).to_numpy()
    refuse("item", repeated, "is repeated in its list; keep the row of the first position")
    for role in ("query", "user", "time"):
        if role in rows:
            first = rows.groupby("list", sort=False)[role].transform("first")
            differs = ~((rows[role] == first) | (rows[role].isna() & first.isna())).to_numpy()
            refuse(role, differs, "differs within its list; a list is one page of one search")
    order = [c for c in ("time", "list", "position") if c in rows]
    return rows.sort_values(order, kind="stable")


def graded_pages(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows of pages with two items or more and their grades, and how many pages have fewer."""
    size = rows.groupby("list")["item"].transform("size")
    short = rows.loc[size < 2, "list"].nunique()
    rows = rows[size >= 2]
    steps = [(rows[role] > 0) * level for level, role in enumerate(STEPS, 1) if role in rows]
    return rows.assign(grade=np.max(steps, axis=0)), short


def split_by_time(lists: pd.Series, times: pd.Series) -> np.ndarray:
    """The split of each row, by the time of its list: the last 10% test, the 10% before valid.

    Args:
      lists, times: List ids and their times, [rows].
    """
    first = times.groupby(lists, sort=False).first().sort_values(kind="stable")
    quantile = np.arange(len(first)) / len(first)
    names = np.select(
        [quantile >= 1 - TEST_SHARE, quantile >= 1 - TEST_SHARE - VALID_SHARE],
        ["test", "valid"],
        "train",
    )
    return pd.Series(names, index=first.index)[lists].to_numpy()


def events_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The events of clicks, carts and purchases: user_id, item_id, event_type and time.

    Events of equal time are sorted by step, then by row.

    Args:
      rows: The result of `read_pages`, with user and time.
    """
    events = event_rows(rows).sort_values("time", kind="stable", ignore_index=True)
    return events[["user_id", "item_id", "event_type", "time"]]


def event_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """`events_of`, sorted by step and not by time; the index is the step, then the row's."""
    dwell = rows.get("dwell", 0.0)
    parts = []
    for role, kind in zip(STEPS, ("view", "cart", "purchase"), strict=True):
        if role in rows:
            time = rows["time"] if role == "click" else rows["time"] + dwell
            done = (rows[role] > 0) & rows["user"].notna()
            part = {"user_id": rows["user"], "item_id": rows["item"], "time": time}
            parts.append(pd.DataFrame(part)[done].assign(event_type=kind))
    return pd.concat(parts, keys=range(len(parts)))


def prepare(
    log: pathlib.Path,
    catalog: pathlib.Path,
    out: pathlib.Path,
    columns: Columns,
    features: Sequence[Feature],
    catalog_item: str = "item_id",
    sensitive: Sequence[str] = (),
    pseudonyms: Pseudonyms | None = None,
) -> None:
    """Writes the prepared dataset of a log to the new folder `out` and prints a summary.

    Args:
      log, catalog: The tables, or the folder of a server's log; only read.
      out: Folder to make.
      columns: The content of the log's columns.
      features: Features of items, queries, users and pairs, except the query text and labels.
      catalog_item: The catalogue's column of item ids.
      sensitive: Columns of either table that are not read.
      pseudonyms: Replace the users' ids.

    Raises:
      DataError: The log or the catalogue cannot be used.
      OutputError: `out` is not empty.
    """
    others = [f.column for f in features if f.side != "item"]
    check_columns(log, columns)
    check_sensitive(sensitive, (log, catalog))
    rows, short = graded_pages(read_pages(log, columns, others, sensitive, features))
    rows = rows.reset_index(drop=True)
    if pseudonyms is not None and "user" in rows:
        rows["user"] = rows["user"].map(pseudonyms.of, na_action="ignore")
    if rows.empty:
        raise DataError(f"{log}: no page has two items or more, so there is nothing to rank")
    texts, numbers = catalog_types(catalog_item, features)
    items = read_table(catalog, texts, sensitive, numbers=numbers)
    if catalog_item not in items:
        near = did_you_mean(catalog_item, items.columns)
        raise DataError(f"{catalog}: no column {catalog_item!r}{near}; give it with --catalog-item")
    schema = log_schema(rows, features, catalog_item)
    if "time" in rows:
        rows["split"] = split_by_time(rows["list"], rows["time"])
    with new_folder(out) as folder:
        items.to_parquet(folder / schema.catalog.file, index=False)
        rows.to_parquet(folder / schema.lists.file, index=False)
        if schema.events is not None:
            events_of(rows).to_parquet(folder / schema.events.file, index=False)
        save_schema(schema, folder)
        validate_dataset(folder).raise_if_errors()
    clicks = int((rows["click"] > 0).sum())
    print(
        f"{rows['list'].nunique():,} lists, {len(rows):,} rows, {clicks:,} clicks; "
        f"{short:,} pages with fewer than two items dropped\nwritten to {out}. Next:\n"
        f"  python -m mmrank.propensity --data {out} --out propensities.csv"
    )


def check_sensitive(columns: Sequence[str], files: Sequence[pathlib.Path]) -> None:
    """Checks that each of these columns is in one of the tables.

    Raises:
      DataError: A column is in neither: a misspelt name would let the column be read.
    """
    if not columns:
        return
    known = {column for file in files if file.is_file() for column in columns_of(file)}
    known.update(c for file in files if file.is_dir() for c in read_page_log(file).rows())
    for column in columns:
        if column not in known:
            near = did_you_mean(column, known)
            raise DataError(f"--sensitive {column!r}: is in neither table{near}")


def log_schema(rows: Collection[str], features: Sequence[Feature], catalog_item: str) -> Schema:
    """The schema of a log's prepared dataset.

    Args:
      rows: The columns of its rows, under the names of `Columns`.
      features: As for `prepare`.
      catalog_item: The catalogue's column of item ids.
    """
    known = [
        *([Feature("query", "text", "query", "query")] if "query" in rows else []),
        *features,
        *(
            Feature(role, "number", "label", role)
            for role in ("grade", *NUMBERS)
            if role == "grade" or role in rows
        ),
    ]
    has_events = "user" in rows and "time" in rows
    return Schema(
        name="log",
        catalog=Catalog(item=catalog_item),
        lists=Lists(
            list="list",
            item="item",
            user="user" if "user" in rows else None,
            time="time" if "time" in rows else None,
            split="split" if "time" in rows else None,
        ),
        events=Events() if has_events else None,
        features=tuple(known),
    )


def read_feature(text: str) -> Feature:
    """The feature for COLUMN:KIND or COLUMN:KIND:SIDE.

    Raises:
      DataError: The text has neither form.
    """
    column, _, rest = text.partition(":")
    kind, _, side = rest.partition(":")
    if not column or not kind or side not in ("", "item", "pair", "query", "user"):
        raise DataError(
            f"--feature {text!r}: must be COLUMN:KIND, such as title:text, or COLUMN:KIND:SIDE"
        )
    return Feature(as_name(column, "feature"), kind, side or "item", column)


def add_log_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    """Adds the arguments for a log, its columns and its catalogue."""
    parser.add_argument("--log", type=pathlib.Path, required=required, metavar="LOG")
    parser.add_argument("--catalog", type=pathlib.Path, required=required, metavar="FILE")
    parser.add_argument("--catalog-item", default="item_id", metavar="COLUMN")
    for field in dataclasses.fields(Columns):
        default = f"default {field.default}" if field.name in NEEDED else "default: none"
        parser.add_argument(
            f"--{field.name}", default=field.default, metavar="COLUMN", help=f"column; {default}"
        )
    parser.add_argument(
        "--feature", action="append", default=[], metavar="COLUMN:KIND", help="see the example"
    )
    parser.add_argument(
        "--sensitive",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column of either table that must not be read",
    )
    parser.add_argument(
        "--pseudonyms",
        action="store_true",
        help=f"write keyed hashes instead of user ids; the key is read from {VARIABLE}",
    )


def log_columns(args: argparse.Namespace) -> Columns:
    """The log's columns from the arguments of `add_log_arguments`."""
    return Columns(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Columns)})


def check_columns(log: pathlib.Path, columns: Columns) -> None:
    """Checks that no columns are given for a server's log.

    Raises:
      DataError: A column is given, which would be ignored.
    """
    given = [n for n, c in columns.named().items() if c != getattr(Columns(), n)]
    if log.is_dir() and given:
        raise DataError(
            f"--{given[0]}: {log} is a folder, a server's log of known columns; leave it out"
        )


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_logs",
        description="Makes a prepared dataset from a log of result pages.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_log_arguments(parser, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    columns = log_columns(args)
    return exit_code(
        lambda: prepare(
            args.log,
            args.catalog,
            args.out,
            columns,
            [read_feature(text) for text in args.feature],
            args.catalog_item,
            args.sensitive,
            Pseudonyms.from_environment() if args.pseudonyms else None,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
