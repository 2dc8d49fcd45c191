"""The whole schema, and how it is made of a plain mapping."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmrank.outputs import shown
from mmrank.schema.errors import SchemaError, did_you_mean, refuse_unknown
from mmrank.schema.features import COMPUTED, Feature, check_names, feature_from_dict
from mmrank.schema.tables import READING_KEYS, TIDYING, Catalog, Events, Lists, table_from_dict


@dataclasses.dataclass(frozen=True)
class Schema:
    """The whole contract between a shop's data and everything else.

    Attributes:
      name: The dataset's name, shown in reports.
      catalog, lists, events: The tables; `events` is None for a shop without a log of behaviour.
      features: Every feature and label in the order of the file.
      media: A folder or a zip archive with the media files, relative to the schema's folder.
      sensitive: Columns of any table that are never read: no feature and no id may use one.

    Example:
      >>> title = {"name": "title", "kind": "text", "side": "item"}
      >>> schema = schema_from_dict({"features": [title]})
      >>> schema.feature("title").column
      'title'
      >>> schema_from_dict(schema.to_dict()) == schema
      True
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
        """The feature with this name.

        Raises:
          SchemaError: The schema has no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        known = [f.name for f in self.features]
        raise SchemaError(f"unknown feature {name!r}{did_you_mean(name, known)}")

    def label(self, name: str) -> Feature | None:
        """The label with this name; None if the schema does not have it."""
        return next((f for f in self.side("label") if f.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """A plain mapping, which `schema_from_dict` turns into an equal schema."""
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
                    for f in sorted(dataclasses.fields(value), key=lambda f: f.name in READING_KEYS)
                    # None is the default of most fields; it is written only for the others.
                    if getattr(value, f.name) is not None or f.default is not None
                }
        plain["features"] = [
            {"name": f.name, "kind": f.kind, "side": f.side}
            | ({} if f.column == f.name else {"column": f.column})
            | dict(f.options)
            for f in self.features
        ]
        return plain


def schema_from_dict(plain: Any) -> Schema:
    """The schema that a plain mapping describes.

    Raises:
      SchemaError: An unknown or missing key, an unknown side, a name used twice.

    Example:
      >>> schema = schema_from_dict(
      ...     {
      ...         "catalog": {"file": "products.csv", "item": "sku"},
      ...         "features": [
      ...             {"name": "title", "kind": "text", "side": "item"},
      ...             {"name": "grade", "kind": "number", "side": "label"},
      ...         ],
      ...     }
      ... )
      >>> schema.catalog.item, [feature.name for feature in schema.side("item")]
      ('sku', ['title'])
      >>> schema_from_dict({"features": [{"name": "title", "kind": "text", "side": "itme"}]})
      Traceback (most recent call last):
      mmrank.schema.SchemaError: ...did you mean 'item'?
    """
    if not isinstance(plain, Mapping):
        raise SchemaError("a schema must be a mapping with the keys name, catalog, lists, features")
    known = ("name", "media", "sensitive", "catalog", "lists", "events", "features")
    refuse_unknown(plain, known, "schema")
    if not plain.get("features"):
        raise SchemaError("features: the schema has no features; add at least one of side item")
    if not isinstance(plain["features"], list):
        raise SchemaError(f"features: expected a list, got {shown(plain['features'])}")
    media = plain.get("media")
    if media is not None and not isinstance(media, str):
        raise SchemaError(f"media: expected a text, got {shown(media)}")
    features = tuple(feature_from_dict(entry, i) for i, entry in enumerate(plain["features"]))
    check_names(features)
    sensitive = plain.get("sensitive", [])
    if not isinstance(sensitive, list) or not all(isinstance(c, str) for c in sensitive):
        raise SchemaError(f"sensitive: expected a list of columns, got {shown(sensitive)}")
    events = plain.get("events")
    none = "lists" in plain and plain["lists"] is None
    schema = Schema(
        name=str(plain.get("name", "dataset")),
        catalog=table_from_dict(Catalog, plain.get("catalog"), "catalog"),
        lists=Lists(file="") if none else table_from_dict(Lists, plain.get("lists"), "lists"),
        events=None if events is None else table_from_dict(Events, events, "events"),
        features=features,
        media=media,
        sensitive=tuple(sensitive),
    )
    _check_sensitive(schema)
    return schema


def _check_sensitive(schema: Schema) -> None:
    used = {f.column: f"feature {f.name}" for f in schema.features if f.kind not in COMPUTED}
    for name in ("catalog", "lists", "events"):
        table = getattr(schema, name)
        for field in dataclasses.fields(table) if table is not None else ():
            if field.name not in ("file", *READING_KEYS, *TIDYING):
                used[getattr(table, field.name)] = f"{name}.{field.name}"
    for column in schema.sensitive:
        if column in used:
            raise SchemaError(
                f"sensitive: the column {column!r} is read as {used[column]}; remove it here "
                "or there (user ids can be kept as pseudonyms, see docs/threats.md)"
            )
