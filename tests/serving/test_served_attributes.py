"""Attributes from a table to an export: the same scores everywhere, and their readers."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config
from mmrank.data.content import content_bags
from mmrank.data.tables import Dataset, load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.evaluation.baselines import baseline_scores
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError
from mmrank.trained_run import Run

SCHEMA = Schema(
    name="electronics",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("facts", "attributes", "item", "facts"),
        Feature("typed", "attributes", "item", "attr_*"),
        Feature("grade", "number", "label", "grade"),
    ),
)
FACTS = [
    {"colour": "navy blue", "weight": "1 kg"},
    {"colour": "red", "weight": "2 kg", "ports": ["usb", "hdmi"]},
    None,
    {"weight": 3},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("electronics")
    catalog = pd.DataFrame(
        {
            "item_id": list("abcd"),
            "title": ["one", "two", "three", "four"],
            "facts": [None if f is None else json.dumps(f) for f in FACTS],
            "attr_n_width": [1.5, None, None, 40.0],
            "attr_b_new": [True, None, None, False],
        }
    )
    catalog.to_parquet(folder / "catalog.parquet")
    rows = [
        (str(n), item, "red thing", split, int(item == "b"))
        for n, split in enumerate(["train", "train", "valid", "test"])
        for item in "abcd"
    ]
    columns = ["list_id", "item_id", "query", "split", "grade"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "lists.parquet")
    save_schema(SCHEMA, folder)
    return load_dataset(folder)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tiny_config: Config) -> Run:
    tf.keras.utils.set_random_seed(5)
    features = build_features(tiny_config, dataset.schema)
    features.fit(dataset)
    model = build_model(tiny_config, features)
    return Run(pathlib.Path("nowhere"), tiny_config, dataset.folder, features, model)


@pytest.fixture(scope="module")
def ranker(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    return Ranker.load(export_run(run, tmp_path_factory.mktemp("run") / "export", dataset))


def scores(ranked: list) -> list[float]:
    return [by_item.score for by_item in sorted(ranked, key=lambda r: r.index)]


def test_an_export_scores_attributes_as_the_run_does(run, dataset, ranker):
    rows = dataset.lists[dataset.lists["list_id"] == "3"]
    expected = run.score(dataset, rows)
    assert len(set(np.round(expected, 5))) == 4
    by_id = ranker.rank(query="red thing", candidates=list("abcd"))
    np.testing.assert_allclose(scores(by_id), expected, atol=1e-5)
    typed = [
        {"n_width": 1.5, "b_new": True},
        {},
        None,
        {"n width": "40", "b new": "no"},
    ]
    lines = ["colour: navy blue\nweight: 1 kg", json.dumps(FACTS[1]), "", "weight: 3"]
    for facts in (FACTS, lines):
        candidates = [
            {"title": t, "facts": f, "typed": own}
            for t, f, own in zip(dataset.catalog["title"], facts, typed, strict=True)
        ]
        raw = ranker.rank(query="red thing", candidates=candidates)
        np.testing.assert_allclose(scores(raw), expected, atol=1e-5)


def test_a_client_without_attributes_gets_an_error(ranker):
    with pytest.raises(RankError, match=r"facts: expected attributes, a mapping or a text, got 3"):
        ranker.rank(query="x", candidates=[{"facts": 3}, {"facts": "a: b"}])


def test_validation_bm25_and_bags_of_words_read_them(dataset):
    assert not validate_dataset(dataset.folder).errors
    rows = dataset.lists[dataset.lists["list_id"] == "3"]
    found = baseline_scores(dataset, rows, ["bm25"])["bm25"]
    assert found.argmax() == 1  # red
    assert (found > 0).tolist() == [False, True, False, False]
    _, words = content_bags(
        Dataset(
            dataset.folder,
            dataset.schema,
            pd.concat([dataset.catalog, dataset.catalog], ignore_index=True),
            dataset.lists,
            None,
        )
    )
    assert {"facts=colour: red", "facts=weight: 1 kg", "typed=b new: no"} <= set(words)


def test_cells_that_cannot_be_read_are_found(dataset, tmp_path):
    catalog = dataset.catalog.rename(columns={"attr_*": "attr_x"})
    catalog.assign(facts=["{a", "a: b", None, "c"]).to_parquet(tmp_path / "catalog.parquet")
    dataset.lists.drop(columns=["_item", "_split"]).to_parquet(tmp_path / "lists.parquet")
    save_schema(SCHEMA, tmp_path)
    (error,) = validate_dataset(tmp_path).errors
    assert "column 'facts': attributes that cannot be read [1: row 1: begins like JSON" in str(
        error
    )
