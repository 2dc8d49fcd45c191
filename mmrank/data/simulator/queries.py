"""The queries in Chinese, English or both: what they ask for, and how often."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.world import (
    ATTRIBUTE_NAMES,
    LANGUAGES,
    PATTERNS,
    TYPES,
    column,
    value_of,
)

ZIPF = 0.8
PLAIN, MIDDLE = [p.key for p in PATTERNS].index("plain"), 1


@dataclasses.dataclass(frozen=True)
class Queries:
    """The distinct queries; row q is the query with index q.

    Attributes:
      types: The product type that the query asks for, [queries] int.
      wanted: The value that the query asks for per attribute of the products, −1 if not named,
        [queries, 7 + hidden] int.
      text: What the user types.
      popularity: Share of the impressions, [queries], summing to 1 (Zipf).
    """

    types: np.ndarray
    wanted: np.ndarray
    text: list[str]
    popularity: np.ndarray

    def __len__(self) -> int:
        return len(self.types)


def make_queries(
    count: int, products: Products, rng: np.random.Generator, kind: Kind = OVERLAPPING
) -> Queries:
    """Up to `count` distinct queries; the frequency of the k-th is proportional to 1 / k^0.8.

    A query describes an existing product by its type and by no, one or two of its attributes, so at
    least one product matches. The attributes are drawn by the weights in `kind.asked`.
    """
    weights = np.array([kind.asked.get(name, 0.0) for name in ATTRIBUTE_NAMES])
    types: list[int] = []
    wanted: list[np.ndarray] = []
    texts: dict[str, None] = {}
    for _ in range(count):
        item = int(rng.integers(len(products)))
        query_weights = weights * _query_weights(products.attributes[item])
        named = rng.choice(3, p=kind.named)
        chosen = rng.choice(
            len(weights), size=named, replace=False, p=query_weights / query_weights.sum()
        )
        want = np.full(len(weights), -1)
        want[chosen] = products.attributes[item, chosen]
        text = _phrase(int(products.types[item]), want, rng)
        if text not in texts:
            texts[text] = None
            types.append(int(products.types[item]))
            wanted.append(want)
    popularity = 1 / np.arange(1, len(types) + 1) ** ZIPF
    return Queries(np.array(types), np.stack(wanted), list(texts), popularity / popularity.sum())


def _query_weights(values: np.ndarray) -> np.ndarray:
    """Weights of the attributes: few users ask for a plain pattern, and none for a middle price."""
    able = np.ones(len(values))
    if values[column("pattern")] == PLAIN:
        able[column("pattern")] = 0.3
    if values[column("price")] == MIDDLE:
        able[column("price")] = 0
    return able


def _phrase(kind: int, want: np.ndarray, rng: np.random.Generator) -> str:
    style = rng.choice(3, p=[0.42, 0.42, 0.16])  # Chinese, English, word by word
    order = ("price", "brand", "season", "style", "colour", "pattern", "material")
    values = [value_of(name, int(want[column(name)])) for name in order if want[column(name)] >= 0]
    values.append(TYPES[kind].value)
    if style < 2:
        language = LANGUAGES[style]
        words = [value.word(language, rng) for value in values]
        return ("" if language == "zh" else " ").join(words)
    return " ".join(value.word(LANGUAGES[int(rng.random() * 2)], rng) for value in values)
