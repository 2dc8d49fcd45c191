"""Guesses the kind of feature of each column of a table, how sure that is, and why."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmrank.guess.profile import Profile, language
from mmrank.guess.roles import GRADES, Found, Table, depends, is_text
from mmrank.schema import as_name

SURE, LIKELY, GUESS = "sure", "likely", "a guess"
FAMILY = 20  # so many sparse columns with the same prefix are one feature of attributes
FEATURES = 60  # numbers and categories of a table beyond this many become comments
_WORDS = ("brand", "colour", "color", "category", "supplier", "vendor", "manufacturer", "gender")
_PRICES = ("price", "cost", "amount", "sales", "count", "revenue", "views", "stock", "quantity")


@dataclasses.dataclass(frozen=True)
class Guess:
    """One line of the features.

    Attributes:
      entry: The feature as in the schema.
      sure: How sure the guess is: sure, likely or a guess.
      why: The reason for the guess.
      on: Whether the feature is used; otherwise its line is a comment.

    Example:
      >>> entry = {"name": "price", "kind": "number", "side": "item"}
      >>> guess = Guess(entry, SURE, "all values are numbers")
      >>> guess.sure, guess.on
      ('sure', True)
    """

    entry: Mapping[str, Any]
    sure: str
    why: str
    on: bool = True


def item_features(found: Found, kinds: Collection[str], media: Collection[str]) -> Iterator[Guess]:
    """Yields the lines of the catalogue's columns.

    Args:
      found: The roles of the tables.
      kinds: Kinds that a schema may name.
      media: Columns whose media files exist.
    """
    table = found.catalog
    # If one table has both lists and items, the columns of the lists are not features of the item.
    both = found.lists is table
    used = {found.item, *(_list_columns(found) if both else ())}
    families = _families(table, used)
    taken = 0
    for prefix, columns in families.items():
        used |= set(columns)
        entry = {
            "name": _plain(prefix),
            "kind": "attributes",
            "side": "item",
            "column": f"{prefix}*",
        }
        known = "attributes" in kinds
        filled = sum(table.columns[c].filled for c in columns) / len(columns)
        why = f"{len(columns):,} columns begin with {prefix}, filled in {filled:.1%} of the rows"
        yield Guess(entry, LIKELY, why, known)
    for name, column in table.columns.items():
        if name in used or (both and not depends(table, name, found.item)):
            continue
        guess = _column(table, name, column, "item", media)
        if guess.on and guess.entry["kind"] in ("number", "category"):
            taken += 1
            if taken > FEATURES:
                guess = dataclasses.replace(guess, on=False, why=f"{guess.why}; too many features")
        if guess.on and guess.entry["kind"] not in kinds:
            guess = dataclasses.replace(guess, on=False)
        yield guess


def list_features(found: Found) -> Iterator[Guess]:
    """Yields the lines of the columns of the table of lists."""
    table = found.lists
    if table is None:
        return
    if found.query is not None:
        column = table.columns[found.query]
        why = f"{column.words:.1f} words on average, {column.distinct:,} different texts"
        entry = {"kind": "text", "side": "query", "column": found.query}
        language_text = language(table.frame[found.query])
        yield Guess({"name": "query", **entry}, LIKELY, f"by its name; {why}, {language_text}")
    for label, name in found.labels.items():
        column = table.columns[name]
        why = f"{column.distinct:,} different numbers"
        sure = SURE if name.lower() in (label, *GRADES) else LIKELY
        entry = {"kind": "number", "side": "label", "column": name}
        yield Guess({"name": label, **entry}, sure, f"by its name; {why}")
    used = {*_list_columns(found), found.item}
    for name, column in table.columns.items():
        own = table is found.catalog and depends(table, name, found.item)
        if name in used or own or column.filled == 0 or column.nested:
            continue
        if _numbers_rows(name, column):
            continue
        if column.numeric > 0.98:
            entry = {"name": _plain(name), "kind": "number", "side": "pair"}
            entry |= {} if entry["name"] == name else {"column": name}
            caveat = (
                "may reveal the grade"
                if any(g in name.lower() for g in GRADES)
                else "may be known only later"
            )
            why = (
                f"a number of query and item together; {caveat}: use it if it is known at "
                "request time"
            )
            yield Guess(entry, GUESS, why, on=False)


def _column(table: Table, name: str, column: Profile, side: str, media: Collection[str]) -> Guess:
    """Returns the line of one column, guessed from its name and values."""

    def line(kind: str, sure: str, why: str, on: bool = True, **options: Any) -> Guess:
        entry = {"name": _plain(name), "kind": kind, "side": side}
        entry |= {} if entry["name"] == name else {"column": name}
        filled = "" if column.filled > 0.995 else f", filled in {column.filled:.0%}"
        return Guess({**entry, **options}, sure, f"{why}{filled}", on)

    values = table.frame[name]
    if name.endswith("*"):
        entry = {"name": _plain(name[:-1]), "kind": "attributes", "side": side, "column": name}
        why = f"many columns begin with {name[:-1]}, and few rows have one of them"
        return Guess(entry, LIKELY, why)
    if column.filled == 0:
        return line("text", SURE, "empty", on=False)
    if column.nested == "vector":
        return line("vector", LIKELY, "lists of numbers")
    if column.nested == "mapping":
        return line("attributes", LIKELY, "mappings of names to values")
    if column.nested == "list":
        return line("tags", LIKELY, "lists of words")
    if column.media is not None:
        there = name in media
        why = f"names of {column.media} files" + ("" if there else " that were not found")
        return line(column.media, SURE if there else GUESS, why, on=there)
    if column.dates > 0.9:
        return line(
            "category", SURE, "dates, which no kind reads; use an age in days as a number", False
        )
    if column.distinct == 1 and column.filled == 1:
        return line("category", SURE, "the same in every row", on=False)
    if column.numeric >= 0.98:
        return _number(name, column, line)
    if column.separator is not None:
        why = f"words separated by {column.separator!r}"
        return line("tags", LIKELY, why, separator=column.separator)
    if column.longest <= 80 and any(w in name.lower() for w in _WORDS):
        why = f"by its name; {column.distinct:,} different short words"
        return line("category", LIKELY, why)
    if is_text(column):
        why = f"{column.words:.0f} words, {column.distinct:,} different, {language(values)}"
        return line("text", SURE if column.variety > 0.5 else LIKELY, why)
    if column.variety < 0.5 and column.longest <= 80:
        sure = LIKELY if column.variety < 0.1 else GUESS
        return line("category", sure, f"{column.distinct:,} different short words")
    if column.words < 1.5 and column.variety > 0.9:
        return line("text", GUESS, "codes, nearly all different; a text if users type them", False)
    return line("text", GUESS, f"{column.distinct:,} different short texts, {language(values)}")


def _number(name: str, column: Profile, line: Any) -> Guess:
    plain = name.lower()
    if _numbers_rows(name, column):
        return line("category", GUESS, "a different number in every row: an id", on=False)
    if re.search(r"(^|_)(id|type|class|code|category)$", plain) and column.whole == 1:
        return line("category", LIKELY, f"{column.distinct:,} different integers, named like ids")
    options = {"log": True} if column.skewed else {}
    why = "numbers" + (", some far larger than the rest" if column.skewed else "")
    sure = SURE if any(p in plain for p in _PRICES) or column.whole < 1 else LIKELY
    return line("number", sure, why, **options)


def _numbers_rows(name: str, column: Profile) -> bool:
    """Returns whether numbers only identify rows or articles and carry no other information."""
    called = re.search(r"(^|_)(id|ean|gtin|code|no)$|^unnamed", name.lower()) is not None
    return column.variety > 0.98 and column.whole == 1 and called


def _families(table: Table, used: Collection[str]) -> dict[str, list[str]]:
    """Returns the columns that share a prefix and are mostly empty, by that prefix."""
    groups: dict[str, list[str]] = {}
    for name, column in table.columns.items():
        prefix, mark, _ = name.partition("_")
        if mark and name not in used and column.filled < 0.5:
            groups.setdefault(prefix + mark, []).append(name)
    large = {p: c for p, c in groups.items() if len(c) >= FAMILY}
    # Include the few columns of the prefix that are filled in most rows: they are attributes, too.
    return {p: [n for n in table.columns if n.startswith(p) and n not in used] for p in large}


def _list_columns(found: Found) -> set[str]:
    named = {found.query, found.group, found.user, found.time, found.lists_item}
    return {c for c in (*named, *found.labels.values()) if c}


def _plain(name: str) -> str:
    """Returns a column's name as a feature's: letters, digits and underscores."""
    return as_name(name, "f")
