"""The simulated catalogue: attributes, prices, ratings, sales, titles and descriptions."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.data.simulator.clock import LOG_END, LOG_START, START
from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.texts import make_tags, make_texts
from mmrank.data.simulator.world import (
    ATTRIBUTE_NAMES,
    ATTRIBUTES,
    MATERIALS,
    PATTERN_SHARES,
    TYPES,
    Hidden,
)

LATE_SHARE = 0.12
LATE_FROM, LATE_TO = 0.75, 0.97  # shares of the log period; valid begins at 0.8, test at 0.9


@dataclasses.dataclass(frozen=True)
class Products:
    """The catalogue as arrays; row i is the item with index i.

    Attributes:
      types: Product type, [items] int.
      attributes: Index of the value per attribute, in the order of `ATTRIBUTE_NAMES`, then of
        `hidden`, [items, 7 + hidden] int.
      level: Price level within the type from 0 (cheap) to 1 (expensive), [items] float.
      quality: Latent quality from 0 to 1; only ratings and sales depend on it, [items] float.
      price: In yuan, [items] float.
      rating: Mean rating from 1 to 5, NaN without ratings, [items] float.
      rating_count, sales: Figures from before the log period, [items] int.
      arrived: Seconds since 1970, [items] int.
      title, description: Texts; a description is None where missing.
      tags: Tags joined by "|"; the empty text without tags.
      named: Whether the texts name the attribute, [items, 7 + hidden] bool.
      type_named: Whether the texts name the product type, [items] bool.
      hidden: The attributes that neither texts nor photos reveal.
    """

    types: np.ndarray
    attributes: np.ndarray
    level: np.ndarray
    quality: np.ndarray
    price: np.ndarray
    rating: np.ndarray
    rating_count: np.ndarray
    sales: np.ndarray
    arrived: np.ndarray
    title: list[str]
    description: list[str | None]
    tags: list[str]
    named: np.ndarray
    type_named: np.ndarray
    hidden: tuple[Hidden, ...] = ()

    def __len__(self) -> int:
        return len(self.types)

    def values_of(self, hidden: Hidden) -> np.ndarray:
        """The indices of the values of a hidden attribute, [items]."""
        return self.attributes[:, len(ATTRIBUTE_NAMES) + self.hidden.index(hidden)]


def make_products(items: int, rng: np.random.Generator, kind: Kind = OVERLAPPING) -> Products:
    """A catalogue of `items` products.

    Price is base price of the type × exp(1.6 (level − 0.5)); the level depends on the brand. Sales
    are lognormal with a mean that grows with quality. A rating is 1 + 4 quality + noise; the noise
    shrinks with the number of ratings. The number of ratings is Poisson with a mean in proportion
    to the sales. Late items have no sales and no ratings.
    """
    shares = 1 / np.arange(1, len(TYPES) + 1) ** 0.3
    types = rng.choice(len(TYPES), size=items, p=shares / shares.sum())
    brand_levels = np.linspace(0.1, 0.9, len(ATTRIBUTES["brand"]))
    brands = rng.integers(len(ATTRIBUTES["brand"]), size=items)
    level = np.clip(brand_levels[brands] + rng.normal(0, 0.15, items), 0, 1)
    keys = [material.key for material in MATERIALS]
    drawn = {
        "colour": rng.integers(len(ATTRIBUTES["colour"]), size=items),
        "pattern": rng.choice(len(PATTERN_SHARES), size=items, p=PATTERN_SHARES),
        "material": np.array(
            [
                keys.index(TYPES[t].materials[int(u * len(TYPES[t].materials))])
                for t, u in zip(types, rng.random(items), strict=True)
            ]
        ),
        "style": rng.integers(len(ATTRIBUTES["style"]), size=items),
        "season": rng.integers(len(ATTRIBUTES["season"]), size=items),
        "brand": brands,
        "price": np.digitize(level, [1 / 3, 2 / 3]),
    }
    attributes = np.stack([drawn[name] for name in ATTRIBUTE_NAMES], axis=1)
    base = np.array([t.price for t in TYPES])[types]

    late = rng.random(items) < LATE_SHARE
    arrived = np.where(
        late,
        LOG_START + (LOG_END - LOG_START) * rng.uniform(LATE_FROM, LATE_TO, items),
        START - rng.integers(1, 3 * 365 * 86400, items),
    ).astype(np.int64)
    quality = rng.beta(3, 2, items)
    sales = np.where(late, 0, rng.lognormal(3 + 3 * (quality - 0.5), 1.2)).astype(np.int64)
    rating_count = rng.poisson(0.15 * sales)
    noise = rng.normal(0, 0.8, items) / np.sqrt(np.maximum(rating_count, 1))
    rating = np.where(rating_count > 0, np.clip(1 + 4 * quality + noise, 1, 5).round(1), np.nan)

    title, description, named, type_named = make_texts(types, attributes, rng, kind)
    return Products(
        types=types,
        attributes=attributes,
        level=level,
        quality=quality,
        price=(base * np.exp(1.6 * (level - 0.5))).round(1),
        rating=rating,
        rating_count=rating_count,
        sales=sales,
        arrived=arrived,
        title=title,
        description=description,
        tags=make_tags(attributes, rng),
        named=named,
        type_named=type_named,
    )
