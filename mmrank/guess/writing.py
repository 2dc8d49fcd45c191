"""A guessed schema as YAML; each line says how sure it is and why."""

from __future__ import annotations

import dataclasses
import pathlib
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

from mmrank.data.tables import DataError
from mmrank.guess.features import GUESS, LIKELY, SURE, Guess, item_features, list_features
from mmrank.guess.folder import Folder, files_by_id, find_media, read_folder
from mmrank.guess.profile import MEDIA
from mmrank.guess.roles import Found, find_roles

WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Written:
    """A guessed schema.

    Attributes:
      text: The YAML with its comments.
      found: The roles of the tables.
      guesses: The features' lines.

    Example:
      >>> import pathlib
      >>> import pandas as pd
      >>> titles = [f"Red dress number {i} of cotton" for i in range(30)]
      >>> products = pd.DataFrame({"sku": [f"P{i:03}" for i in range(30)], "title": titles})
      >>> products.to_csv("products.csv", index=False)
      >>> print(guess_schema(pathlib.Path("."), ["text", "number", "category"]).summary())
      catalog   products.csv, sku: ...
      lists     none: ...
      features  ...
    """

    text: str
    found: Found
    guesses: tuple[Guess, ...]

    def summary(self) -> str:
        """Returns the roles of the tables and the number of features, in a few lines."""
        taken = [g for g in self.guesses if g.on]
        counts = [f"{sum(g.sure == s for g in taken)} {s}" for s in (SURE, LIKELY, GUESS)]
        lists = self.found.lists
        return "\n".join(
            [
                f"catalog   {self.found.catalog.file}, {self.found.item}: {self.found.catalog_why}",
                f"lists     {'none' if lists is None else lists.file}: {self.found.lists_why}",
                f"features  {len(taken)} ({', '.join(counts)}), "
                f"{len(self.guesses) - len(taken)} more as comments",
            ]
        )


def guess_schema(folder: pathlib.Path, kinds: Collection[str]) -> Written:
    """Guesses the schema of a folder from its tables.

    Args:
      folder: A folder with tables, and perhaps media files.
      kinds: Kinds that a schema may name.

    Raises:
      DataError: There is no table, or no table has a column that can be an item's id.

    Example:
      >>> import pathlib
      >>> import pandas as pd
      >>> titles = [f"Red dress number {i} of cotton" for i in range(30)]
      >>> products = pd.DataFrame({"sku": [f"P{i:03}" for i in range(30)], "title": titles})
      >>> products.to_csv("products.csv", index=False)
      >>> written = guess_schema(pathlib.Path("."), ["text", "number", "category"])
      >>> written.found.catalog.file, written.found.item
      ('products.csv', 'sku')
    """
    read = read_folder(folder)
    found = find_roles(read.tables)
    if found is None:
        raise DataError(
            f"{folder}: no table has a column that can be an item's id, which is one word and "
            "never empty; add one"
        )
    media, features = _features(folder, found, kinds)
    if not any(g.on and g.entry["side"] == "item" for g in features):
        features.insert(0, _id_alone(found))
    features = _named_once(features)
    return Written(
        "\n".join(_lines(folder, read, found, media, features)) + "\n", found, tuple(features)
    )


def _features(
    folder: pathlib.Path, found: Found, kinds: Collection[str]
) -> tuple[str, list[Guess]]:
    catalog = found.catalog
    names = {
        c: catalog.frame[c].dropna().astype(str).tolist()
        for c, p in catalog.columns.items()
        if p.media is not None
    }
    root, there = find_media(folder, names) if names else ("", set())
    return root, [*list_features(found), *item_features(found, kinds, there)]


def _id_alone(found: Found) -> Guess:
    entry = {"name": "item", "kind": "category", "side": "item", "column": found.item}
    return Guess(entry, GUESS, "no other column describes the items")


def _named_once(features: list[Guess]) -> list[Guess]:
    """Returns the lines; a repeated name gets its side as a prefix."""
    seen: set[str] = set()
    made = []
    for guess in features:
        name = guess.entry["name"]
        if name in seen and guess.on:
            entry = {**guess.entry, "name": f"{guess.entry['side']}_{name}"}
            entry.setdefault("column", name)
            guess = dataclasses.replace(guess, entry=entry)
        if guess.on:
            seen.add(guess.entry["name"])
        made.append(guess)
    return made


def _lines(
    folder: pathlib.Path, read: Folder, found: Found, media: str, features: list[Guess]
) -> Iterator[str]:
    yield "# Guessed by `python -m mmrank.schema --guess`: read it before you train. Each line"
    yield "# says how sure it is (sure, likely, a guess) and why. A line after # is left out;"
    yield "# remove the # to use it. docs/dataset.md describes every key."
    for what in read.passed:
        yield from _comment(what)
    yield f"name: {_flow(folder.absolute().name)}"
    yield from _comment(found.catalog_why)
    catalog: dict[str, Any] = {"file": found.catalog.file, "item": found.item}
    catalog |= read.readings.get(found.catalog.file, {})
    yield f"catalog: {_flow(catalog | ({'repeated': 'first'} if found.repeated else {}))}"
    yield from _lists(found, read)
    for table, column in found.others:
        yield from _comment(
            f"{table.file} has {len(table.frame):,} rows of the same items by {column}, but is not "
            "read: a schema has one table of items and one of lists"
        )
    if media:
        yield f"media: {_flow(media)}"
    elif all(g.entry["kind"] not in MEDIA for g in features):
        where = files_by_id(folder, found.catalog.ids(found.item).tolist())
        if where is not None:
            yield from _comment(f"{where}: add a column with these names to use them")
    yield "features:"
    for guess in features:
        line = f"- {_flow(dict(guess.entry))}"
        yield f"  {'' if guess.on else '# '}{line}  # {guess.sure}: {guess.why}"


def _lists(found: Found, read: Folder) -> Iterator[str]:
    table = found.lists
    yield from _comment(found.lists_why)
    if table is None:
        yield "lists: null  # a catalogue can be encoded; training needs lists of candidates"
        return
    plain: dict[str, Any] = {"file": table.file, "list": found.group, "item": found.lists_item}
    plain |= {k: v for k, v in (("user", found.user), ("time", found.time)) if v is not None}
    plain |= read.readings.get(table.file, {})
    frame = table.frame
    keys = frame[[found.group, found.lists_item]].astype(str)
    twice = int(keys.duplicated().sum())
    if twice:
        plain["repeated"] = "first"
        yield from _comment(f"{twice:,} rows repeat an item of their list: the first row is used")
    sizes = keys.drop_duplicates()[found.group].value_counts()
    alone = int((sizes < 2).sum())
    if alone:
        plain["short"] = "drop"
        yield from _comment(f"{alone:,} lists have only one candidate, so no order can be learned")
    yield from _comment(
        f"{found.group} distinguishes lists: {len(sizes):,}, with {sizes.median():.0f} candidates "
        f"in the median, {sizes.max():,} at most"
    )
    yield f"lists: {_flow(plain)}"


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ")


def _flow(value: Mapping[str, Any] | str) -> str:
    """Returns a value in one line of YAML."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix("...\n").strip()
