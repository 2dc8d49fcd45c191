"""What a shop's data looks like: the tables, the features, and where each comes from.

A prepared dataset is a folder with a ``schema.yaml``. The schema names three tables and the
columns that tie them together, then lists every feature: its name, kind, side and source column.
This module knows nothing of TensorFlow and of how a kind is encoded.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from mmrank.outputs import UserError, shown
from mmrank.schema.yaml_text import read_yaml_file

SCHEMA_FILE = "schema.yaml"
SIDES = ("query", "user", "item", "pair", "label")
PSEUDO = "pseudo"  # marks rows whose grade is that of a ranker
LABELS = ("grade", "position", "click", "dwell", "cart", "purchase", PSEUDO)

MOST_COMPARED = 100  # characters of a name that may be a misspelt one

FORMATS = ("parquet", "csv", "tsv", "jsonl", "svmlight")

# Kinds that stand in no column: they are computed from the events before a list.
COMPUTED = ("history", "collaborative")


class SchemaError(UserError):
    """A schema that cannot be used; the message says where and how to mend it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How the file of a table is read. What is left out is told by the file itself.

    Attributes:
      format: parquet, csv, tsv, jsonl or svmlight, where the file's ending says something else.
      encoding: Of a text file, such as latin-1; UTF-8, or what its first bytes say, unless told.
      separator: Between two fields of a csv or tsv, one character.
      decimal: Decimal mark of a csv or tsv, `.` or `,`.
      thousands: What parts groups of three digits in a csv or tsv; nothing does unless told.
      groups: File with the sizes of the lists of an svmlight file without qid, one a line.
    """

    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    groups: str | None = None

    def check(self, where: str) -> None:
        """Nothing, if the values can be.

        Args:
          where: The table, to begin a message with.

        Raises:
          SchemaError: One cannot.
        """
        if self.format is not None and self.format not in FORMATS:
            near = did_you_mean(self.format, FORMATS)
            raise SchemaError(f"{where}.format: unknown format {self.format!r}{near}")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise SchemaError(
                    f"{where}.encoding: unknown encoding {self.encoding!r}; use utf-8, latin-1, "
                    "cp1252, gbk or another that Python knows"
                ) from None
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise SchemaError(
                f"{where}.separator: {self.separator!r} is not one character between fields; "
                'a tab is written "\\t"'
            )
        if self.decimal not in (None, ".", ","):
            raise SchemaError(f"{where}.decimal: {self.decimal!r} is neither '.' nor ','")
        if self.thousands is not None and (
            self.thousands not in (".", ",", "'", " ") or self.thousands == (self.decimal or ".")
        ):
            raise SchemaError(
                f"{where}.thousands: {self.thousands!r} is none of . , ' and a space, or is the "
                "decimal mark"
            )


_READING = {f.name for f in dataclasses.fields(Reading)}
# What tidies a table, with the only word for it.
_TIDYING = {"repeated": "first", "short": "drop"}


@dataclasses.dataclass(frozen=True)
class Catalog(Reading):
    """The table with one row per item.

    Attributes:
      file, item: The table, and its column of item ids.
      repeated: `first` to take the first of several rows of an item, as where the catalogue stands
        in the rows of the lists; otherwise they are an error.
    """

    file: str = "catalog.parquet"
    item: str = "item_id"
    repeated: str | None = None


@dataclasses.dataclass(frozen=True)
class Lists(Reading):
    """The table with one row per candidate of a list. `None` marks an optional column left out.

    Attributes:
      file: The table; empty for a catalogue without lists, which can be encoded and not learned.
      list, item, user, time, split: Its columns.
      repeated: `first` to take the first of several rows of an item in one list; otherwise they
        are an error.
      short: `drop` to leave out lists of one candidate; otherwise they are an error.
    """

    file: str = "lists.parquet"
    list: str = "list_id"
    item: str = "item_id"
    user: str | None = None
    time: str | None = None
    split: str | None = None
    repeated: str | None = None
    short: str | None = None


@dataclasses.dataclass(frozen=True)
class Events(Reading):
    """The table with one row per event: who did what with which item, and when."""

    file: str = "events.parquet"
    user: str = "user_id"
    item: str = "item_id"
    type: str | None = "event_type"
    time: str = "time"


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of a query, user, item, pair, or one label.

    Attributes:
      name: Unique name; the model's inputs and the served tensors bear it.
      kind: The kind of value: text, image, number, category, tags or history.
      side: query, user, item, pair (query-item) or label. Item columns stand in the catalogue,
        all others in the lists; a history is read from the events.
      column: Source column; the name itself unless given.
      options: Facts about the data that only this kind understands (`separator` of tags, say).
    """

    name: str
    kind: str
    side: str
    column: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Schema:
    """The whole contract between a shop's data and everything else.

    Attributes:
      name: The dataset's name, shown in reports.
      catalog, lists, events: The tables; `events` is None for a shop without behaviour.
      features: Every feature and label in the order of the file.
      media: A folder or a zip archive with the media files, relative to the schema's folder.
      sensitive: Columns of any table that are never read: no feature and no id may be one.
    """

    name: str
    catalog: Catalog
    lists: Lists
    events: Events | None
    features: tuple[Feature, ...]
    media: str | None = None
    sensitive: tuple[str, ...] = ()

    def side(self, *sides: str) -> tuple[Feature, ...]:
        """The features of these sides, in the schema's order."""
        return tuple(f for f in self.features if f.side in sides)

    def feature(self, name: str) -> Feature:
        """The feature of that name.

        Raises:
          SchemaError: The schema has no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        known = [f.name for f in self.features]
        raise SchemaError(f"no feature {name!r} in the schema{did_you_mean(name, known)}")

    def label(self, name: str) -> Feature | None:
        """The label of that name; None for a schema without."""
        return next((f for f in self.side("label") if f.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """A plain mapping that `schema_from_dict` reads back to an equal schema."""
        plain: dict[str, Any] = {"name": self.name}
        if self.media is not None:
            plain["media"] = self.media
        if self.sensitive:
            plain["sensitive"] = list(self.sensitive)
        for table in ("catalog", "lists", "events"):
            value = getattr(self, table)
            if value is not None and not value.file:
                plain[table] = None
            elif value is not None:
                plain[table] = {
                    f.name: getattr(value, f.name)
                    for f in sorted(dataclasses.fields(value), key=lambda f: f.name in _READING)
                    # None is the default of most, and has to be said of the others only.
                    if getattr(value, f.name) is not None or f.default is not None
                }
        plain["features"] = [
            {"name": f.name, "kind": f.kind, "side": f.side}
            | ({} if f.column == f.name else {"column": f.column})
            | dict(f.options)
            for f in self.features
        ]
        return plain


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suffix for an error message: the nearest known name, or all of them."""
    names = sorted(known)
    # Names of strangers may be megabytes long, and a comparison takes time by the square of that.
    near = difflib.get_close_matches(str(name)[:MOST_COMPARED], names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def load_schema(path: str | pathlib.Path, data: bool = True) -> Schema:
    """The schema in a `schema.yaml`, or in a folder that holds one.

    Args:
      path: The file or the folder.
      data: Whether it is that of a dataset, whose files have to lie in its folder, and not the copy
        that a run or an export keeps.

    Raises:
      SchemaError: The file is missing, is not YAML, is not a schema, or names files elsewhere.
    """
    file = pathlib.Path(path)
    if file.is_dir():
        file = file / SCHEMA_FILE
    if not file.is_file():
        raise SchemaError(
            f"{file}: no such file. A dataset is a folder with a {SCHEMA_FILE}; "
            "make one with `python -m mmrank.simulate --out DIR` or write your own (see README.md)"
        )
    plain = read_yaml_file(file, SchemaError)
    try:
        schema = schema_from_dict(plain)
        if data:
            _check_places(schema)
    except SchemaError as error:
        raise SchemaError(f"{file}: {error}") from None
    return schema


def save_schema(schema: Schema, folder: str | pathlib.Path) -> pathlib.Path:
    """The path of the `schema.yaml` written into `folder`."""
    file = pathlib.Path(folder) / SCHEMA_FILE
    text = yaml.safe_dump(schema.to_dict(), sort_keys=False, allow_unicode=True, width=100)
    file.write_text(text, encoding="utf-8")
    return file


def schema_from_dict(plain: Any) -> Schema:
    """The schema that a plain mapping describes.

    Raises:
      SchemaError: An unknown or missing key, an unknown side, a name used twice.
    """
    if not isinstance(plain, Mapping):
        raise SchemaError("a schema is a mapping with the keys name, catalog, lists, features")
    known = ("name", "media", "sensitive", "catalog", "lists", "events", "features")
    _only_known(plain, known, "schema")
    if not plain.get("features"):
        raise SchemaError("features: the schema names no feature; list at least one of side item")
    if not isinstance(plain["features"], list):
        raise SchemaError(f"features: expected a list, got {shown(plain['features'])}")
    media = plain.get("media")
    if media is not None and not isinstance(media, str):
        raise SchemaError(f"media: expected a text, got {shown(media)}")
    features = tuple(_feature(entry, i) for i, entry in enumerate(plain["features"]))
    _check_names(features)
    sensitive = plain.get("sensitive", [])
    if not isinstance(sensitive, list) or not all(isinstance(c, str) for c in sensitive):
        raise SchemaError(f"sensitive: expected a list of columns, got {shown(sensitive)}")
    events = plain.get("events")
    none = "lists" in plain and plain["lists"] is None
    schema = Schema(
        name=str(plain.get("name", "dataset")),
        catalog=_table(Catalog, plain.get("catalog"), "catalog"),
        lists=Lists(file="") if none else _table(Lists, plain.get("lists"), "lists"),
        events=None if events is None else _table(Events, events, "events"),
        features=features,
        media=media,
        sensitive=tuple(sensitive),
    )
    _check_sensitive(schema)
    return schema


def _table(kind: type, plain: Any, where: str) -> Any:
    if plain is None:
        return kind()
    if isinstance(plain, str):
        return kind(file=plain)
    if not isinstance(plain, Mapping):
        raise SchemaError(f"{where}: expected a file name or a mapping, got {shown(plain)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    _only_known(plain, fields, where)
    for key, value in plain.items():
        optional = "None" in str(fields[key].type)
        if not isinstance(value, str) and not (value is None and optional):
            raise SchemaError(f"{where}.{key}: expected a text, got {shown(value)}")
    table = kind(**plain)
    table.check(where)
    for key, word in _TIDYING.items():
        if plain.get(key) not in (None, word):
            raise SchemaError(f"{where}.{key}: expected {word!r}, got {shown(plain[key])}")
    return table


def is_name(text: str) -> bool:
    """Whether a text can be the name of a feature, which TensorFlow takes as that of an input."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) is not None


def as_name(text: str, otherwise: str) -> str:
    """A column's name as that of a feature.

    Accents are dropped, letters of other scripts become their numbers (价格: u4ef7u683c), so that
    different columns keep different names, and what is neither letter nor digit becomes _.

    Args:
      text: The column's name, in any script.
      otherwise: A name, or the start of one, where no letter comes first.
    """
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text.casefold())
    known = "".join(
        c if c.isascii() or unicodedata.combining(c) else f"u{ord(c):x}" if c.isalnum() else "_"
        for c in plain
    )
    name = re.sub(r"[^A-Za-z0-9_]+", "_", "".join(c for c in known if c.isascii())).strip("_")
    if not name:
        return otherwise
    return name if is_name(name) else f"{otherwise}_{name}"


def _check_places(schema: Schema) -> None:
    """Nothing, if all paths lead to something in the folder of the schema.

    Raises:
      SchemaError: One leads elsewhere: who hands a dataset on must not choose which other files of
        this machine are read.
    """
    places = {"media": schema.media}
    for name in ("catalog", "lists", "events"):
        table = getattr(schema, name)
        if table is not None:
            places |= {f"{name}.file": table.file, f"{name}.groups": table.groups}
    for where, place in places.items():
        path = pathlib.PurePosixPath((place or "").replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise SchemaError(
                f"{where}: {shown(place)} leads out of the dataset's folder; put the files there, "
                "or a symbolic link to them"
            )


def _feature(plain: Any, index: int) -> Feature:
    where = f"features[{index}]"
    if not isinstance(plain, Mapping):
        raise SchemaError(
            f"{where}: expected a mapping with name, kind and side, got {shown(plain)}"
        )
    for key in ("name", "kind", "side"):
        if not isinstance(plain.get(key), str):
            raise SchemaError(f"{where}: the key {key!r} is missing or is not a text")
    name, side = plain["name"], plain["side"]
    if not is_name(name):
        raise SchemaError(
            f"{where}: {name!r} is not a name: use letters a to z, digits and underscores, a "
            "letter first; the column may be called anything"
        )
    if side not in SIDES:
        raise SchemaError(f"{where} ({name}): unknown side {side!r}{did_you_mean(side, SIDES)}")
    if side == "label" and name not in LABELS:
        raise SchemaError(f"{where}: unknown label {name!r}{did_you_mean(name, LABELS)}")
    column = plain.get("column", name)
    if not isinstance(column, str):
        raise SchemaError(
            f"{where} ({name}): the column {column!r} is not a text; put it in quotes"
        )
    options = {k: v for k, v in plain.items() if k not in ("name", "kind", "side", "column")}
    return Feature(name, plain["kind"], side, column, options)


def _check_names(features: tuple[Feature, ...]) -> None:
    seen: set[str] = set()
    for feature in features:
        if feature.name in seen:
            raise SchemaError(f"features: the name {feature.name!r} is used twice")
        seen.add(feature.name)
    if not any(f.side == "item" for f in features):
        raise SchemaError("features: none is of side item, so there is nothing to rank by")


def _check_sensitive(schema: Schema) -> None:
    used = {f.column: f"feature {f.name}" for f in schema.features if f.kind not in COMPUTED}
    for name in ("catalog", "lists", "events"):
        table = getattr(schema, name)
        for field in dataclasses.fields(table) if table is not None else ():
            if field.name not in ("file", *_READING, *_TIDYING):
                used[getattr(table, field.name)] = f"{name}.{field.name}"
    for column in schema.sensitive:
        if column in used:
            raise SchemaError(
                f"sensitive: the column {column!r} is read as {used[column]}; take it off the list "
                "or leave that out (user ids can be kept as pseudonyms, see docs/threats.md)"
            )


def _only_known(plain: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in plain:
        if key not in set(known):
            raise SchemaError(f"{where}: unknown key {key!r}{did_you_mean(str(key), known)}")
