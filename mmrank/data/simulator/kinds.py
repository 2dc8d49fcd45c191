"""The kinds of simulated shop: what texts name, what queries ask for, and what users like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Kind:
    """Where the information is in a shop. Mappings are by attribute; a missing attribute means 0.

    Attributes:
      in_title, in_description: Share of titles, and of descriptions, that name an attribute.
      asked: Probability that a query names an attribute, relative to the others.
      named: Shares of the queries that name no, one and two attributes.
      tastes: Weights of the attributes in a user's taste; `price` is the nearness of the price
        level.
      taste: Weight of the taste in the appeal; quality has the rest.
      usual_appeal: Weighted mean of taste and quality at which the appeal is one half.
    """

    in_title: Mapping[str, float]
    in_description: Mapping[str, float]
    asked: Mapping[str, float]
    named: tuple[float, float, float]
    tastes: Mapping[str, float]
    taste: float
    usual_appeal: float


_TITLE = {"material": 0.4, "style": 0.4, "season": 0.3, "brand": 0.6}
_DESCRIPTION = {"material": 0.9, "style": 0.8, "season": 0.7, "brand": 0.2}

# About half of the titles name colour and pattern, and users have a taste for colours. So different
# kinds of features often hold the same information.
OVERLAPPING = Kind(
    in_title=_TITLE | {"colour": 0.45, "pattern": 0.45},
    in_description=_DESCRIPTION | {"colour": 0.05, "pattern": 0.05},
    asked={
        "colour": 0.42,
        "pattern": 0.32,
        "material": 0.06,
        "style": 0.06,
        "season": 0.03,
        "brand": 0.05,
        "price": 0.06,
    },
    named=(0.20, 0.40, 0.40),
    tastes={"colour": 0.40, "brand": 0.25, "style": 0.20, "price": 0.15},
    taste=0.85,
    usual_appeal=0.42,
)

# Each kind of feature holds information that the others lack. Texts have the type, material and
# season that queries ask for. Photos have colour and pattern, which texts hardly name. Prices and
# ratings show what is cheap or good. Histories show the styles and the price level that a user
# likes, which no query names.
COMPLEMENTARY = Kind(
    in_title=_TITLE | {"colour": 0.05, "pattern": 0.05},
    in_description=_DESCRIPTION,
    asked={"colour": 0.64, "pattern": 0.24, "material": 0.04, "season": 0.02, "price": 0.06},
    named=(0.12, 0.48, 0.40),
    tastes={"style": 0.70, "price": 0.30},
    taste=0.70,
    usual_appeal=0.50,
)

KINDS = {"overlapping": OVERLAPPING, "complementary": COMPLEMENTARY}
