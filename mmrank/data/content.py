"""The features of an item as a sparse bag of words, for item codes and for items without events."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.data.kinds import KINDS, kind_of
from mmrank.data.tables import DataError, Dataset

MIN_ITEMS = 2
MAX_WORDS = 50_000


def content_bags(dataset: Dataset) -> tuple[sp.csr_matrix, list[str]]:
    """The words that describe each item, [items, words] float32 of 0 and 1, and the words' names.

    A word's name is `feature=value`. A value is a word of a text, a tag, an attribute, a category,
    or for a number the decile of the catalogue that it falls in. A word that only one item has
    gives no information on other items and is left out. Media, reviews and vectors give no words.

    Raises:
      DataError: The items have no such feature, or no two items share a word.
    """
    features = [f for f in dataset.schema.side("item") if kind_of(f.kind).bagged]
    if not features:
        kinds = ", ".join(name for name, kind in KINDS.items() if kind.bagged)
        raise DataError(
            f"{dataset.schema.catalog.file}: no item feature of kind {kinds}; item codes need one"
        )
    bags: list[list[str]] = [[] for _ in range(len(dataset.catalog))]
    for feature in features:
        of_items = kind_of(feature.kind).bag(dataset.catalog[feature.column], feature)
        for bag, words in zip(bags, of_items, strict=True):
            bag.extend(f"{feature.name}={word}" for word in words)
    from sklearn.feature_extraction.text import CountVectorizer  # slow to import

    counter = CountVectorizer(
        analyzer=_itself, min_df=MIN_ITEMS, max_features=MAX_WORDS, binary=True, dtype=np.float32
    )
    try:
        matrix = counter.fit_transform(bags)
    except ValueError as error:  # no word is left
        raise DataError(
            f"{dataset.schema.catalog.file}: no two items share a word of "
            f"{', '.join(f.name for f in features)}; item codes need items that do"
        ) from error
    return matrix.tocsr(), list(counter.get_feature_names_out())


def _itself(bag: list[str]) -> list[str]:
    return bag
