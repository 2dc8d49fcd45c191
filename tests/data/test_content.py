from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.data.content import content_bags
from mmrank.data.tables import DataError, Dataset
from mmrank.data.tail_weights import tail_weights
from mmrank.schema import Catalog, Feature, Lists, Schema


def shop(catalog: pd.DataFrame, *features: Feature) -> Dataset:
    schema = Schema("shop", Catalog(), Lists(), None, features)
    return Dataset(pathlib.Path(), schema, catalog, pd.DataFrame(), None)


def test_words_of_every_kind() -> None:
    catalog = pd.DataFrame(
        {
            "title": ["Red mug 红", "red MUG", None, ""],
            "tags": ["a|b", ["b"], "", None],
            "brand": ["X", "X", "X", None],
            "price": [1.0, 1.0, 9.0, np.nan],
        }
    )
    bags, words = content_bags(
        shop(
            catalog,
            Feature("title", "text", "item", "title"),
            Feature("tags", "tags", "item", "tags"),
            Feature("brand", "category", "item", "brand"),
            Feature("price", "number", "item", "price"),
            Feature("photo", "image", "item", "photo"),
        )
    )
    found = {w: bags[:, i].toarray().ravel().tolist() for i, w in enumerate(words)}
    # 红, the tag a and the price bin of 9 occur in one item only, so they are left out.
    price = next(w for w in words if w.startswith("price="))
    assert found == {
        "title=red": [1, 1, 0, 0],
        "title=mug": [1, 1, 0, 0],
        "tags=b": [1, 1, 0, 0],
        "brand=X": [1, 1, 1, 0],
        price: [1, 1, 0, 0],
    }
    assert bags.dtype == np.float32


def test_a_catalogue_without_shared_words_is_refused() -> None:
    brand = Feature("brand", "category", "item", "brand")
    with pytest.raises(DataError, match="no two items share a word of brand"):
        content_bags(shop(pd.DataFrame({"brand": ["X", "Y"]}), brand))
    with pytest.raises(DataError, match="no item feature of kind"):
        content_bags(shop(pd.DataFrame(), Feature("photo", "image", "item", "photo")))


def test_tail_weights_by_hand() -> None:
    """Counts 0, 3 and 8 with power 0.5 give 1, 1/2 and 1/3, with mean 11/18."""
    given = tail_weights(np.array([0, 3, 8]), 0.5)
    np.testing.assert_allclose(given, np.array([1, 1 / 2, 1 / 3]) * 18 / 11, rtol=1e-6)
    np.testing.assert_array_equal(tail_weights(np.array([0, 7, 99]), 0.0), np.ones(3))
    assert len(tail_weights(np.zeros(0), 1.0)) == 0


def test_a_capped_weight_is_at_most_the_cap_before_the_mean_is_one_again() -> None:
    counts = np.array([0, *[999] * 999])
    raw = 1 / (1 + counts)
    capped = np.minimum(raw / raw.mean(), 10)
    assert raw[0] / raw.mean() > 100
    np.testing.assert_allclose(tail_weights(counts, 1.0), capped / capped.mean(), rtol=1e-6)
    assert tail_weights(counts, 1.0).mean() == pytest.approx(1, rel=1e-5)
