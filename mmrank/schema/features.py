"""The features of a dataset, and how a feature may be named."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from mmrank.outputs import shown
from mmrank.schema.errors import SchemaError, did_you_mean

SIDES = ("query", "user", "item", "pair", "label")
PSEUDO = "pseudo"  # marks rows whose grade comes from a ranker
LABELS = ("grade", "position", "click", "dwell", "cart", "purchase", PSEUDO)
# Kinds without a source column: they are computed from the events before a list.
COMPUTED = ("history", "collaborative")


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of a query, user, item, pair, or one label.

    Attributes:
      name: Unique name, also of the model's input and of the served tensor.
      kind: The kind of value: text, image, number, category, tags or history.
      side: query, user, item, pair (query-item) or label. Item columns are in the catalogue, all
        others in the lists; a history is read from the events.
      column: Source column; by default the name.
      options: Facts about the data that only this kind uses, such as the `separator` of tags.

    Example:
      >>> price = Feature("price", "number", "item", "price_eur", {"log": True})
      >>> price.side, price.column, price.options
      ('item', 'price_eur', {'log': True})
    """

    name: str
    kind: str
    side: str
    column: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def is_name(text: str) -> bool:
    """Whether a text can name a feature; TensorFlow uses that name for an input."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) is not None


def as_name(text: str, otherwise: str) -> str:
    """The name of a feature made from a column's name.

    Accents are dropped. Letters of other scripts become their code points (价格: u4ef7u683c), so
    that different columns keep different names. Characters other than letters and digits become _.

    Args:
      text: The column's name, in any script.
      otherwise: The name if nothing of `text` is left; the start of the name if what is left does
        not begin with a letter.

    Example:
      >>> as_name("prix (€)", "feature"), as_name("2nd photo", "feature")
      ('prix', 'feature_2nd_photo')
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


def feature_from_dict(plain: Any, index: int) -> Feature:
    """The feature that a plain mapping describes, an entry of `features`.

    Args:
      plain: The entry.
      index: Its index in `features`, which messages begin with.

    Raises:
      SchemaError: A key is missing or not a text, or the name, side or label is not possible.
    """
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
            f"{where}: {name!r} is not a valid name: use letters a to z, digits and underscores, "
            "starting with a letter; the column may have any name"
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


def check_names(features: tuple[Feature, ...]) -> None:
    """Checks that each name is used once, and that an item has a feature.

    Raises:
      SchemaError: A name is used twice, or no feature has side item.
    """
    seen: set[str] = set()
    for feature in features:
        if feature.name in seen:
            raise SchemaError(f"features: the name {feature.name!r} is used twice")
        seen.add(feature.name)
    if not any(f.side == "item" for f in features):
        raise SchemaError("features: no feature has side item, so there is nothing to rank by")
