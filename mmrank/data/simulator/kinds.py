"""The kinds of simulated shop: what texts tell, what is asked for, and what shoppers like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Kind:
    """What tells what in a shop. All shares and weights are by attribute; those not there are 0.

    Attributes:
      in_title, in_description: How often a title, and a description, names an attribute.
      asked: How likely queries name an attribute, relative to the others.
      named: Shares of the queries that name no, one and two attributes.
      tastes: What weighs how much in a shopper's taste; `price` is the nearness of the price level.
      taste: Weight of the taste in the appeal; quality has the rest.
      usual_appeal: Taste and quality at which the appeal is one half.
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

# Titles name colour and pattern about half the time, and tastes are for colours too, so that one
# kind of feature often tells what another one tells already.
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

# Each kind of feature tells what the others do not: texts the type, material and season that are
# asked for; photos the colour and pattern, which texts hardly name; prices and ratings what is
# cheap or good; the history which styles and price level the shopper likes, which nobody types.
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
