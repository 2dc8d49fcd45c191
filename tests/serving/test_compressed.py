"""Compressed exports: their reports and scores, and the refusal of worse ones."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.compression.lite import FOLDER, LiteError, LiteRanker
from mmrank.compression.options import Compression
from mmrank.compression.quality import ScoredLists
from mmrank.compression.report import CompressionRefused
from mmrank.compression.weights import cluster_weights, compressible_weights, prune_weights
from mmrank.config import Config, Head
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.compressed import export_compressed
from mmrank.serving.model_card import CARD_JSON
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run
from mmrank.versions import CLASSIC, version_set_of

KEPT = ("price", "brand", "user")


@pytest.fixture(scope="module")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def small(shop: Dataset, tiny_config: Config) -> Run:
    """A small ranker with random weights, one of them a matrix of 2,304 numbers."""
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in shop.schema.side(*sides) if f.name not in KEPT)
    model = dataclasses.replace(tiny_config.model, drop=drop, head=Head(hidden=(48, 48)))
    data = dataclasses.replace(tiny_config.data, buckets=(8, 64))
    config = dataclasses.replace(tiny_config, model=model, data=data)
    features = build_features(config, shop.schema)
    features.fit(shop)
    tf.keras.utils.set_random_seed(2)
    network = build_model(config, features)
    return Run(pathlib.Path("nowhere"), config, shop.folder, features, network)


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        (Compression(prune=0.5, items="int8"), ["prune=0.5", "int8 items"]),
        (Compression(cluster=8, items="float16"), ["cluster=8", "float16 items"]),
    ],
    ids=["prune, int8", "cluster, float16"],
)
def test_an_export_scores_as_the_measured_ranker(
    small: Run, shop: Dataset, tmp_path: pathlib.Path, how: Compression, steps: list[str]
) -> None:
    kept = small.model.network.get_weights()
    actual: list[str] = []
    folder = export_compressed(small, tmp_path, shop, how, 0.99, actual.append)
    after = small.model.network.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, after, strict=True))

    rows = shop.rows("valid")
    one = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    weights = compressible_weights(small.model.network.weights)
    if how.prune is not None:
        prune_weights(weights, how.prune)
    if how.cluster is not None:
        cluster_weights(weights, how.cluster)
        assert all(len(np.unique(w.numpy())) <= how.cluster for w in weights)
    try:
        expected = ScoredLists(small, shop, one).scores(how.items)
        full = ScoredLists(small, shop, one).scores()
    finally:
        small.model.network.set_weights(kept)
    ranker = Ranker.load(folder)
    scores = ranker.scores(candidates=list(one["item_id"]), user=one["user_id"].iloc[0])
    assert np.allclose(scores, expected, atol=1e-5)
    assert np.abs(expected - full).max() > 1e-5  # fewer bits do change the scores

    found = ranker.signatures["lookup_items"](items=tf.constant(one["item_id"].to_numpy()))
    assert found["tokens"].dtype == tf.float32

    table = actual[0].splitlines()
    assert [row[: row.index("  ")] for row in table[1:4]] == ["as trained", *steps]
    assert "–" not in table[3]
    card = json.loads((folder / CARD_JSON).read_text(encoding="utf-8"))
    assert card["compression"]["steps"] == steps
    assert 0 < card["compression"]["validation_ndcg@10"]["after"] <= 1


def test_a_ranker_that_loses_too_much_is_not_exported(
    small: Run, shop: Dataset, tmp_path: pathlib.Path
) -> None:
    actual: list[str] = []
    with pytest.raises(CompressionRefused, match="int8 items"):
        # A loss of at most −100% is impossible.
        export_compressed(small, tmp_path, shop, Compression(items="int8"), -1, actual.append)
    assert not list(tmp_path.iterdir())
    assert "int8 items" in actual[0]


@pytest.mark.slow
def test_files_for_tensorflow_lite_are_in_the_export(
    small: Run, shop: Dataset, tmp_path: pathlib.Path
) -> None:
    actual: list[str] = []
    how = Compression(dynamic_range=True)
    if version_set_of() is not CLASSIC:
        with pytest.raises(LiteError, match="with Python 3.11"):
            export_compressed(small, tmp_path, shop, how, 0.99, actual.append)
        assert not list(tmp_path.iterdir())
        return
    folder = export_compressed(small, tmp_path, shop, how, 0.99, actual.append)
    rows = shop.rows("valid")
    lists = ScoredLists(small, shop, rows)
    exact = lists.scores()
    assert np.abs(lists.lite_scores(folder / FOLDER) - exact).max() < 0.1 * exact.std()
    assert LiteRanker(small.model, folder / FOLDER)
    assert "dynamic_range" in actual[0]
