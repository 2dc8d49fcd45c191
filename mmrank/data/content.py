"""What an item says of itself, as a sparse bag of words: for codes and for items without events."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer

from mmrank.data.attributes import attribute_lines
from mmrank.data.tables import DataError, Dataset
from mmrank.data.words import tokens
from mmrank.schema import Feature

BUCKETS = 10
MIN_ITEMS = 2
MAX_WORDS = 50_000


def content_bags(dataset: Dataset) -> tuple[sp.csr_matrix, list[str]]:
    """Which words describe each item, [items, words] float32 of 0 and 1, and the words.

    A word is `feature=value`: the words of a text, each tag or attribute, a category, and for a
    number the tenth of the catalogue that it falls in. A word of a single item says nothing of
    others and is left out. Media, reviews and vectors are no words.

    Raises:
      DataError: The items have no such feature, or no two items share a word.
    """
    features = [f for f in dataset.schema.side("item") if f.kind in _WORDS]
    if not features:
        raise DataError(
            f"{dataset.schema.catalog.file}: no item feature of kind {', '.join(_WORDS)}; "
            "codes of items need one"
        )
    bags: list[list[str]] = [[] for _ in range(len(dataset.catalog))]
    for feature in features:
        of_items = _WORDS[feature.kind](dataset.catalog[feature.column], feature)
        for bag, words in zip(bags, of_items, strict=True):
            bag.extend(f"{feature.name}={word}" for word in words)
    counter = CountVectorizer(
        analyzer=_itself, min_df=MIN_ITEMS, max_features=MAX_WORDS, binary=True, dtype=np.float32
    )
    try:
        matrix = counter.fit_transform(bags)
    except ValueError as error:  # no word is left
        raise DataError(
            f"{dataset.schema.catalog.file}: no two items share a word of "
            f"{', '.join(f.name for f in features)}; codes of items need some that do"
        ) from error
    return matrix.tocsr(), list(counter.get_feature_names_out())


def _itself(bag: list[str]) -> list[str]:
    return bag


def _text(values: pd.Series, feature: Feature) -> list[list[str]]:
    return [tokens(v) if isinstance(v, str) else [] for v in values]


def _category(values: pd.Series, feature: Feature) -> list[list[str]]:
    return [[] if pd.isna(v) or str(v).strip() == "" else [str(v).strip()] for v in values]


def _tags(values: pd.Series, feature: Feature) -> list[list[str]]:
    separator = str(feature.options.get("separator", "|"))
    split = []
    for value in values:
        if isinstance(value, str):
            value = value.split(separator)
        several = isinstance(value, (list, tuple, np.ndarray))
        split.append([str(v).strip() for v in value if str(v).strip()] if several else [])
    return split


def _attributes(values: pd.Series, feature: Feature) -> list[list[str]]:
    return [[line.casefold() for line in attribute_lines(v).splitlines()] for v in values]


def _number(values: pd.Series, feature: Feature) -> list[list[str]]:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(numbers)
    if not known.any():
        return [[] for _ in numbers]
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BUCKETS + 1)[1:-1]))
    buckets = np.searchsorted(edges, numbers, side="right")
    return [[str(b)] if there else [] for b, there in zip(buckets, known, strict=True)]


_WORDS = {
    "text": _text,
    "category": _category,
    "tags": _tags,
    "number": _number,
    "attributes": _attributes,
}
