"""Guesses which table is the catalogue and which has the lists, and the roles of their columns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from mmrank.guess.profile import Profile, profile
from mmrank.schema import LABELS

GRADES = (
    "grade",
    "relevance",
    "rating",
    "label",
    "judgement",
    "judgment",
    "score",
    "gain",
)
BEHAVIOUR = {
    "click": ("click", "clicked", "clicks", "is_click"),
    "purchase": ("purchase", "purchased", "bought", "ordered", "conversion"),
    "cart": ("cart", "add_to_cart", "atc"),
    "dwell": ("dwell", "dwell_time"),
    "position": ("position", "rank", "pos"),
}
QUERIES = ("query", "search_term", "search", "term", "keyword", "question", "q", "keywords")
LISTS = ("list_id", "search_id", "query_id", "qid", "session_id", "srch_id", "impression_id")
USERS = ("user", "userid", "user_id", "customer", "customer_id", "visitor", "shopper", "shopper_id")
TIMES = ("time", "timestamp", "date", "ts", "created", "datetime")
JOINED = 0.98  # least share of a column's ids that the catalogue must have


@dataclasses.dataclass(frozen=True)
class Table:
    """A table and the profiles of its columns.

    Attributes:
      file: Name of its file in the folder.
      frame: Its rows.
      columns: Profiles by column.
    """

    file: str
    frame: pd.DataFrame
    columns: Mapping[str, Profile]

    @classmethod
    def of(cls, file: str, frame: pd.DataFrame) -> Table:
        """Returns the table with the profiles of its columns."""
        return cls(file, frame, {str(c): profile(frame[c]) for c in frame})

    def ids(self, column: str) -> pd.Series:
        """Returns the values of a column that are not missing, as texts."""
        return self.frame[column].dropna().astype(str)


@dataclasses.dataclass(frozen=True)
class Found:
    """The roles of a folder's tables.

    Attributes:
      catalog, item: The table of items, and its column of ids.
      repeated: Whether an item has several rows in this table.
      catalog_why: The reason for choosing this table.
      lists, lists_item, query: The table of lists, its column of item ids, and that of queries.
      group: The column that identifies a list.
      user, time: Columns of the user and of the list's time.
      labels: Columns by label.
      lists_why: The reason for choosing this table of lists, or what is missing if there is none.
      others: Further tables that refer to the items, each with its column of item ids.
    """

    catalog: Table
    item: str
    repeated: bool
    catalog_why: str
    lists: Table | None = None
    lists_item: str = ""
    query: str | None = None
    group: str = ""
    user: str | None = None
    time: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lists_why: str = ""
    others: tuple[tuple[Table, str], ...] = ()


def find_roles(tables: Sequence[Table]) -> Found | None:
    """Returns the roles of some tables; None if no table has a column that can be an item's id."""
    joins = list(_joins(tables))
    judged = [t for t in tables if labels_of(t)]
    # ---- a catalogue, to which a table of lists may refer
    best: tuple[float, Found] | None = None
    for table, item in _catalogues(tables):
        referring = [(t, c, s) for t, c, other, i, s in joins if other is table and i == item]
        lists = [(t, c, s) for t, c, s in referring if t in judged]
        worth = _described(table) + 10 * bool(lists) + 2 * bool(referring) + _named(item)
        if lists:
            chosen, column, share = max(lists, key=lambda x: _as_lists(x[0]))
            found = _with_lists(table, item, chosen, column, share)
        else:
            found = Found(
                table, item, False, f"every row has its own {item}", lists_why=_no_lists(tables)
            )
        others = tuple((t, c) for t, c, _ in referring if t is not found.lists)
        found = dataclasses.replace(found, others=others)
        if best is None or worth > best[0]:
            best = worth, found
    if best is not None and best[1].lists is not None:
        return best[1]
    # ---- one table with both items and lists
    for table in sorted(judged, key=lambda t: -len(t.frame)):
        both = _both(table)
        if both is not None:
            return both
    return None if best is None else best[1]


def labels_of(table: Table) -> dict[str, str]:
    """Returns the columns that hold labels, by label, guessed from their names and values."""
    found: dict[str, str] = {}
    for label, names in {"grade": GRADES, **BEHAVIOUR}.items():
        columns = [c for c in table.columns if _matches(c, names)]
        fitting = [c for c in columns if _may_be(label, table.columns[c])]
        if fitting:
            found[label] = min(fitting, key=lambda c: (c.lower() not in names, len(c)))
    if not {"grade", "click", "purchase", "cart"} & set(found):
        return {}
    return {label: found[label] for label in LABELS if label in found}


def _may_be(label: str, column: Profile) -> bool:
    numbers = column.numeric >= 0.98 and column.filled == 1 and column.negative == 0
    if label == "grade":
        return numbers and 2 <= column.distinct <= 101
    if label in ("click", "purchase", "cart"):
        return numbers and column.distinct <= 20
    return numbers and column.filled == 1 and (label != "position" or column.whole == 1)


def _matches(column: str, names: Iterable[str]) -> bool:
    """Returns whether a column has one of these names, or one of them as its last word."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(column)).lower()
    return any(plain == n or plain.replace("_", "") == n.replace("_", "") for n in names) or (
        plain.split("_")[-1] in names and "agent" not in plain
    )


def _is_id(column: Profile) -> bool:
    """Returns whether values can be ids: short, of one word, and whole if they are numbers."""
    if column.nested or column.media or column.dates > 0.5:
        return False
    whole = column.numeric < 0.5 or column.whole == 1
    return column.filled > 0.98 and column.longest <= 64 and column.words <= 1.5 and whole


def _catalogues(tables: Sequence[Table]) -> Iterable[tuple[Table, str]]:
    for table in tables:
        unique = [c for c, p in table.columns.items() if p.unique and _is_id(p)]
        if unique:
            yield table, max(unique, key=_named)


def _joins(tables: Sequence[Table]) -> Iterable[tuple[Table, str, Table, str, float]]:
    """Yields tables that may refer to a catalogue.

    As (table, column, catalogue, catalogue's id column, share of the ids that the catalogue has).
    """
    for catalogue, item in _catalogues(tables):
        known = set(catalogue.ids(item))
        for table in tables:
            if table is catalogue or set(table.columns) == set(catalogue.columns):
                continue  # the tables may be two splits, each with its own row numbers
            best: tuple[float, str, float] | None = None
            for name, column in table.columns.items():
                if not _is_id(column) or _matches(name, GRADES):
                    continue
                share = float(table.ids(name).drop_duplicates().isin(known).mean())
                alike = _alike(name, item)
                if share >= JOINED and (alike or column.distinct > 20):
                    better = (share + alike, name, share)
                    best = max(best, better) if best is not None else better
            if best is not None:
                yield table, best[1], catalogue, item, best[2]


def _alike(one: str, other: str) -> float:
    """Returns how similar two names of id columns are, from 0 to 1 for equal names."""
    plain = [re.sub(r"[^a-z0-9]", "", n.lower()) for n in (one, other)]
    if plain[0] == plain[1]:
        return 1.0
    stems = [re.sub(r"(id|uid|sku|code|no)$", "", p) for p in plain]
    return 0.5 if stems[0] and stems[0] == stems[1] else 0.0


def _named(column: str) -> float:
    """Returns how much a column's name resembles that of an item's id."""
    plain = column.lower()
    sounds = ("item", "product", "sku", "asin", "article", "movie", "doc", "video", "url", "faq")
    return 1.0 * any(s in plain for s in sounds) + 0.5 * plain.endswith(("id", "sku"))


def _described(table: Table) -> float:
    """Returns how well a table describes its items; columns of text count most."""
    texts = sum(is_text(p) for p in table.columns.values())
    return 3.0 * min(texts, 3) + min(len(table.columns), 20) / 20


def is_text(column: Profile) -> bool:
    """Returns whether values are texts of several words, and either distinct enough or long."""
    return (
        column.nested is None
        and column.media is None
        and column.words >= 2
        and column.numeric < 0.5
        and column.dates < 0.5
        and (column.variety > 0.05 or column.words >= 6)
        and column.separator is None
    )


def _as_lists(table: Table) -> tuple[bool, bool, int]:
    """Returns how well a table suits as lists, as a key for sorting.

    It compares whether there are queries, whether a column has the name of a grade, and the number
    of rows.
    """
    labels = labels_of(table)
    exact = any(c.lower() in GRADES for c in labels.values())
    return query_of(table, None) is not None, exact, len(table.frame)


def query_of(table: Table, item: str | None) -> str | None:
    """Returns the column with the query's text in a table of candidates; None if it has none."""
    usable = [
        c
        for c, p in table.columns.items()
        if c != item and p.nested is None and p.filled > 0.9 and p.distinct < p.rows
    ]
    named = [c for c in usable if _matches(c, QUERIES) and table.columns[c].numeric < 0.5]
    if named:
        return min(named, key=lambda c: (c.lower() not in QUERIES, len(c)))
    return None


def _with_lists(catalog: Table, item: str, lists: Table, column: str, share: float) -> Found:
    query = query_of(lists, column)
    user = next((c for c in lists.columns if _matches(c, USERS) and c != column), None)
    named = next((c for c in lists.columns if _matches(c, LISTS) and c not in (column, user)), None)
    numbered = next(
        (c for c in lists.columns if _matches(c, QUERIES) and c not in (column, query, user)), None
    )
    group = named or query or numbered or user or ""
    labels = labels_of(lists)
    if not group:
        return Found(
            catalog, item, False, f"every row has its own {item}",
            lists_why=f"{lists.file} has {', '.join(labels.values())}, but no column that says "
            "which rows are one list",
        )  # fmt: skip
    grouped = lists.frame.groupby(lists.frame[group].astype(str))
    time = next((c for c in lists.columns if _matches(c, TIMES)), None)
    if time is not None and (grouped[time].nunique() > 1).any():
        time = None
    if user is not None and (grouped[user].nunique() > 1).any():
        user = None
    why = f"it has {', '.join(labels.values())}"
    if lists is not catalog:
        why = f"{share:.0%} of its {column} are in {catalog.file}, and {why}"
    return Found(
        catalog, item, False, f"every row has its own {item}, to which {lists.file} refers", lists,
        column, query, group, user, time if user is not None else None, labels, why,
    )  # fmt: skip


def _both(table: Table) -> Found | None:
    """Returns the roles for a table whose rows are candidates with the items' own columns.

    None if the table is not of this form.
    """
    query = query_of(table, None)
    if query is None:
        return None
    texts = [c for c, p in table.columns.items() if is_text(p) and c != query]
    others = {query, *labels_of(table).values()}
    ids = [c for c, p in table.columns.items() if _is_id(p) and c not in others]
    ids = [c for c in ids if not _matches(c, (*GRADES, *QUERIES, *USERS))]
    repeated = [c for c in ids if not table.columns[c].unique]
    for item in sorted(repeated, key=lambda c: (-_named(c), -table.columns[c].distinct)):
        if table.columns[item].distinct < 20:
            continue
        dependent = [c for c in texts if depends(table, c, item)]
        if dependent or (not texts and _named(item)):
            evidence = (
                f"each {item} has one {dependent[0]}"
                if dependent
                else f"{item} is named like an item id"
            )
            found = _with_lists(table, item, table, item, 1.0)
            why = f"{evidence} and occurs in several rows"
            return dataclasses.replace(found, repeated=True, catalog_why=why)
    unique = [c for c in ids if table.columns[c].unique]
    if unique and texts:
        item = max(unique, key=_named)
        found = _with_lists(table, item, table, item, 1.0)
        return dataclasses.replace(found, catalog_why=f"every row has its own {item}")
    return None


def depends(table: Table, column: str, on: str) -> bool:
    """Returns whether a column has one value for each value of `on`, with few exceptions."""
    try:
        several = table.frame.groupby(on)[column].nunique() > 1
    except TypeError:
        return False
    return bool(several.mean() < 0.01)


def _no_lists(tables: Sequence[Table]) -> str:
    names = [t.file for t in tables if query_of(t, None) is not None]
    if not names:
        return "no table has queries, nor grades or clicks of candidates"
    return f"{', '.join(names)} has queries, but no grades or clicks of several candidates each"
