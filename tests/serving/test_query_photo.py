"""A photo as the query: the same scores from the lists table to the export."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config
from mmrank.data.tables import Dataset, load_dataset
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run

SCHEMA = Schema(
    name="seen in the street",
    media="photos",
    catalog=Catalog(),
    lists=Lists(split="split"),
    events=None,
    features=(
        Feature("query", "text", "query", "query"),
        Feature("seen", "image", "query", "seen"),
        Feature("title", "text", "item", "title"),
        Feature("photo", "image", "item", "photo"),
        Feature("grade", "number", "label", "grade"),
    ),
)
IDS = ["a", "b", "c"]
# Query of each list: text and photo; a photo only; a broken photo; a text only.
QUERIES = {"1": ("red", "x.png"), "2": (None, "y.png"), "3": (None, "cut.png"), "4": ("red", None)}


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, [40, 30, 3], np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("street")
    (folder / "photos").mkdir()
    for seed, name in enumerate(["a", "b", "x", "y"]):
        (folder / "photos" / f"{name}.png").write_bytes(picture(seed))
    (folder / "photos" / "cut.png").write_bytes(picture(9)[:200])
    catalog = {"item_id": IDS, "title": ["red", "blue", ""], "photo": ["a.png", "b.png", None]}
    pd.DataFrame(catalog).to_parquet(folder / "catalog.parquet")
    rows = [
        (number, item, text, photo, split, grade)
        for (number, (text, photo)), split in zip(
            QUERIES.items(), ["train", "valid", "test", "test"], strict=True
        )
        for item, grade in zip(IDS, (1, 0, 0), strict=True)
    ]
    columns = ["list_id", "item_id", "query", "seen", "split", "grade"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "lists.parquet")
    save_schema(SCHEMA, folder)
    return load_dataset(folder)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tiny_config: Config) -> Run:
    """A ranker with random weights; photos of queries and items share a tower."""
    tf.keras.utils.set_random_seed(5)
    features = build_features(tiny_config, dataset.schema)
    features.fit(dataset)
    model = build_model(tiny_config, features)
    (seen,) = (f.encoder for f in model.encoders if f.name == "seen")
    (photo,) = (f.encoder for f in model.encoders if f.name == "photo")
    assert seen is photo
    # With the initial moving averages of an untrained network all photos would look alike.
    batch = features.arrays(dataset, dataset.lists).items["photo"]
    for layer in photo._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    photo(tf.constant(batch[:2]), training=True)
    return Run(pathlib.Path("nowhere"), tiny_config, dataset.folder, features, model)


@pytest.fixture(scope="module")
def expected(run: Run, dataset: Dataset) -> dict[str, np.ndarray]:
    """The Keras model's scores by list."""
    scores = run.score(dataset, dataset.lists).reshape(-1, 3)
    return dict(zip(QUERIES, scores, strict=True))


@pytest.fixture(scope="module")
def ranker(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    return Ranker.load(export_run(run, tmp_path_factory.mktemp("run") / "export", dataset))


def test_the_photo_and_the_text_of_a_query_both_matter(expected: dict[str, np.ndarray]) -> None:
    for one, other in (("1", "2"), ("1", "4"), ("2", "3")):
        assert np.abs(expected[one] - expected[other]).max() > 1e-4


def test_queries_with_neither_have_finite_equal_scores(
    run: Run, dataset: Dataset, expected: dict[str, np.ndarray]
) -> None:
    assert np.isfinite(expected["3"]).all()
    bare = run.score(dataset, dataset.lists.assign(query=None, seen=None)).reshape(-1, 3)
    for scores in bare:
        np.testing.assert_allclose(scores, expected["3"], atol=1e-5)
    dropped = run.score(dataset, dataset.lists, drop=("query", "seen")).reshape(-1, 3)
    np.testing.assert_allclose(dropped, bare, atol=1e-5)


def test_the_export_scores_the_same(
    ranker: Ranker, dataset: Dataset, expected: dict[str, np.ndarray]
) -> None:
    photos = dataset.folder / "photos"
    asked = {
        "1": {"query": "red", "seen": photos / "x.png"},
        "2": (photos / "y.png").read_bytes(),  # bytes can only be the photo
        "3": None,
        "4": "red",
    }
    raw = [
        {"title": "red", "photo": photos / "a.png"},
        {"title": "blue", "photo": photos / "b.png"},
        {},
    ]
    for number, query in asked.items():
        for candidates in (IDS, raw):
            scores = ranker.scores(query=query, candidates=candidates)
            np.testing.assert_allclose(scores, expected[number], atol=1e-5, err_msg=number)


def test_a_served_batch_takes_photos_with_flags(
    ranker: Ranker, expected: dict[str, np.ndarray]
) -> None:
    """As clients send it: bytes for every list, with flags for those that count."""
    inputs = {
        "query": tf.constant(["red", "ignored", "", "red"]),
        "query_present": tf.constant([True, False, True, True]),
        "seen": tf.constant([picture(2), picture(3), b"no photo", b"ignored"]),
        "seen_present": tf.constant([True, True, False, False]),
        "items": tf.constant([IDS] * 4),
    }
    scores = ranker.signatures["rank_items"](**inputs)["scores"].numpy()
    np.testing.assert_allclose(scores, np.stack([*expected.values()]), atol=1e-5)
