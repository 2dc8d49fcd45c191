"""Attribute phrases as queries, and the grade of a product for one."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

# Types whose singular is not the plural without its last letter; None: people say the plural.
_SINGULAR: dict[str, str | None] = {
    "briefs": None,
    "capris": None,
    "casual shoes": None,
    "clutches": "clutch",
    "dresses": "dress",
    "flats": None,
    "flip flops": None,
    "formal shoes": None,
    "heels": None,
    "jeans": None,
    "jeggings": None,
    "leggings": None,
    "lounge pants": None,
    "lounge shorts": None,
    "necklace and chains": None,
    "salwar": None,
    "scarves": "scarf",
    "shorts": None,
    "sports shoes": None,
    "stockings": None,
    "sunglasses": None,
    "suspenders": None,
    "tights": None,
    "track pants": None,
    "trousers": None,
    "watches": "watch",
}
_FURTHER = {"tshirts": ("t-shirt", "t-shirts")}
# Words of the type column that no user would type.
NOT_ASKED_FOR = frozenset({"Free Gifts", "Accessory Gift Set", "Travel Accessory"})
# The usage of four in five products: a query for it would not distinguish candidates.
COMMON_USAGE = "Casual"


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A type with a colour, a usage or both: "red kurta", "ethnic kurta", "red ethnic kurta"."""

    type: str
    colour: str | None = None
    usage: str | None = None

    def wordings(self) -> list[str]:
        """The wordings of the phrase, lower-cased."""
        before = [part.lower() for part in (self.colour, self.usage) if part is not None]
        return [" ".join([*before, word]) for word in type_wordings(self.type)]

    def grades(self, items: pd.DataFrame) -> np.ndarray:
        """[items] int grade 0–3 of every product: how much of the phrase it fulfils.

        | phrase            | 3   | 2                     | 1                         | 0    |
        |-------------------|-----|-----------------------|---------------------------|------|
        | type + one other  | all | the type              | the other                 | none |
        | type + two others | all | the type and one other| the type, or both others  | rest |
        """
        of_type = (items["article_type"] == self.type).to_numpy()
        others = [
            (items[column] == value).to_numpy()
            for column, value in (("colour", self.colour), ("usage", self.usage))
            if value is not None
        ]
        held = np.sum(others, axis=0)
        if len(others) == 1:
            return np.where(of_type, 2 + held, held)
        return np.where(of_type, 1 + held, held // 2)


def type_wordings(article_type: str) -> tuple[str, ...]:
    """The wordings of a type in a query: unchanged, in the singular, in other spellings."""
    plural = article_type.lower()
    if plural in _SINGULAR:
        singular = _SINGULAR[plural]
    else:
        singular = plural[:-1] if plural.endswith("s") else None
    return (plural, *([singular] if singular else []), *_FURTHER.get(plural, ()))


def phrases(items: pd.DataFrame) -> dict[str, dict[Phrase, int]]:
    """The phrases that products fulfil, with the number of products, by kind.

    A usage that the type already names ("sports sports shoes") and the common one are excluded.

    Returns:
      The kinds "colour", "usage" and "both", each in order of first appearance.
    """
    asked = items[~items["article_type"].isin(NOT_ASKED_FOR)]
    usage_named = [
        usage == COMMON_USAGE or usage.lower() in article_type.lower()
        for usage, article_type in zip(asked["usage"], asked["article_type"], strict=True)
    ]
    with_usage = asked[~np.array(usage_named, dtype=bool)]
    return {
        "colour": _counted(Phrase(t, c) for t, c in _rows(asked, "article_type", "colour")),
        "usage": _counted(
            Phrase(t, usage=u) for t, u in _rows(with_usage, "article_type", "usage")
        ),
        "both": _counted(
            Phrase(t, c, u) for t, c, u in _rows(with_usage, "article_type", "colour", "usage")
        ),
    }


def _rows(items: pd.DataFrame, *columns: str) -> Iterator[tuple[str, ...]]:
    return zip(*(items[column] for column in columns), strict=True)


def _counted(found: Iterable[Phrase]) -> dict[Phrase, int]:
    return dict(collections.Counter(found))
