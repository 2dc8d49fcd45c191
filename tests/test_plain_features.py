"""The table of plain numbers: values as in the data, NaN where they are absent."""

from __future__ import annotations

import collections

import numpy as np
import pandas as pd

from mmrank.data.batches import ListArrays
from mmrank.data.tables import Dataset
from mmrank.features import Features, make_features
from mmrank.plain_features import plain_columns, plain_features, plain_names
from mmrank.schema import Catalog, Feature, Lists, Schema
from mmrank.trained_run import Run


def test_numbers_equal_those_of_the_data(run: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    names, values = plain_features(run, dataset, rows)
    assert values.dtype == np.float32
    assert values.shape == (len(rows), len(names))
    assert len(set(names)) == len(names)
    items = dataset.catalog.iloc[rows["_item"].to_numpy()]
    for name in ("price", "rating"):
        expected = pd.to_numeric(items[name]).to_numpy(np.float32)
        np.testing.assert_array_equal(values[:, names.index(name)], expected)
    overlap = rows[dataset.schema.feature("overlap").column].to_numpy(np.float32)
    np.testing.assert_array_equal(values[:, names.index("overlap")], overlap)


def test_a_category_is_its_index_by_frequency(run: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    names, values = plain_features(run, dataset, rows)
    train = dataset.catalog["brand"].iloc[dataset.rows("train")["_item"].to_numpy()]
    counts = collections.Counter(train.dropna()[train.dropna() != ""])
    known = sorted((w for w in counts if counts[w] >= 2), key=lambda w: (-counts[w], w))
    position = {word: n for n, word in enumerate(known)}
    brands = dataset.catalog["brand"].iloc[rows["_item"].to_numpy()].fillna("")
    expected = [np.nan if b == "" else position.get(b, len(known)) for b in brands]
    np.testing.assert_array_equal(values[:, names.index("brand")], expected)


def test_match_features_are_absent_without_a_text(run: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    names, values = plain_features(run, dataset, rows)
    assert run.model.matcher is not None
    assert names[-len(run.model.matcher.names) :] == run.model.matcher.names
    untitled = ~run.has(dataset, "title")[rows["_item"].to_numpy()]
    bm25 = values[:, names.index("query/title/bm25")]
    np.testing.assert_array_equal(np.isnan(bm25), untitled)
    np.testing.assert_array_equal(
        np.nan_to_num(values[:, -len(run.model.matcher.names) :]), run.match_features(dataset, rows)
    )


def test_vectors_and_sides() -> None:
    """Two lists, (item 1, item 0) and (item 1); the second item has no vector."""
    features = _features(
        Feature("codes", "vector", "item", "codes"),
        Feature("age", "number", "user", "age"),
        Feature("rank", "number", "pair", "rank"),
    )
    features.fit_values(
        {
            "codes": pd.Series([[1.0, 2.0], [3.0, 4.0]]),
            "age": pd.Series([30.0]),
            "rank": pd.Series([1.0]),
        },
        None,
    )
    arrays = ListArrays(
        items={"codes": np.array([[1, 2], [0, 0]]), "codes_present": np.array([True, False])},
        contexts={"age": np.array([30.0, 40.0]), "age_present": np.array([True, True])},
        pairs={
            "rank": np.array([1.0, 0.0, 3.0]),
            "rank_present": np.array([True, False, True]),
        },
        offsets=np.array([0, 2, 3]),
        candidates=np.array([1, 0, 1], np.int32),
        grades=np.zeros(3, np.float32),
        users=np.full(2, -1),
        times=np.full(2, np.nan),
    )
    assert plain_names(features) == ("codes/1", "codes/2", "age", "rank")
    nan = np.nan
    expected = [[nan, nan, 30, 1], [1, 2, 30, nan], [nan, nan, 40, 3]]
    np.testing.assert_array_equal(plain_columns(features, arrays), expected)


def _features(*features: Feature) -> Features:
    return make_features(Schema("plain", Catalog(), Lists(), None, features), {})
