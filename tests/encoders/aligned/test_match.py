"""The cosine of photos and texts of aligned towers: in the training graph and in an export."""

from __future__ import annotations

import dataclasses
import io
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmrank import import_encoder
from mmrank.build import build_features, build_head, build_model
from mmrank.config import Config, ConfigError, Head, from_mapping
from mmrank.data.batches import Batches
from mmrank.data.tables import Dataset, load_dataset
from mmrank.encoders.aligned.space import write_space
from mmrank.encoders.image import Image
from mmrank.encoders.imported.folder import WEIGHTS_FILE, read_network
from mmrank.fusion import make_fusion
from mmrank.models import FeatureEncoder, comparable, ranking_model
from mmrank.schema import Catalog, Feature, Lists, Schema, save_schema
from mmrank.scoring import ListScorer, match_features
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run

SCHEMA = Schema(
    name="street",
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
TITLES = {"a": "red dress", "b": "the hat", "c": "hello now", "d": ""}
PHOTOS = {"a": "a.png", "b": "b.png", "c": None, "d": "d.png"}
# Query of each list: text and photo; a photo only; a text only.
QUERIES = {"1": ("red", "x.png"), "2": (None, "y.png"), "3": ("a red dress", None)}
SHARED = ["query/title/cosine", "seen/photo/cosine"]
ALIGNED = ["query/photo/cosine", "seen/title/cosine"]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, [40, 33, 3], np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("street")
    (folder / "photos").mkdir()
    for seed, name in enumerate("abdxy"):
        (folder / "photos" / f"{name}.png").write_bytes(picture(seed))
    catalog = {"item_id": list(TITLES), "title": [*TITLES.values()], "photo": [*PHOTOS.values()]}
    pd.DataFrame(catalog).to_parquet(folder / "catalog.parquet")
    rows = [
        (number, item, text, photo, split, float(item == "a"))
        for (number, (text, photo)), split in zip(
            QUERIES.items(), ["train", "valid", "test"], strict=True
        )
        for item in TITLES
    ]
    columns = ["list_id", "item_id", "query", "seen", "split", "grade"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "lists.parquet")
    save_schema(SCHEMA, folder)
    return load_dataset(folder)


@pytest.fixture(scope="module")
def clip(
    folder_of: Callable[..., pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The files that the command makes from a CLIP folder."""
    folder = tmp_path_factory.mktemp("clip")
    source = folder_of(folder / "hf", "clip", layers=1)
    assert import_encoder.main(["--from", str(source), "--out", str(folder / "out")]) == 0
    return folder / "out"


def config(text: pathlib.Path, image: pathlib.Path) -> Config:
    encoders = {
        "text": {"encoder": "hub", "handle": str(text)},
        "image": {"weights": str(image), "trainable": False},
    }
    model = {"width": 8, "encoders": encoders, "head": {"hidden": [8]}}
    return from_mapping(Config, {"data": {"cache": None}, "model": model}, "test")


@pytest.fixture(scope="module")
def run(clip: pathlib.Path, dataset: Dataset) -> Run:
    """A ranker whose score is a weighted sum of its cosines."""
    tf.keras.utils.set_random_seed(5)
    wanted = config(clip / "text", clip / "image")
    features = build_features(wanted, dataset.schema)
    features.fit(dataset)
    model = build_model(wanted, features)
    assert model.matcher is not None
    assert model.residual is not None
    weights = [[1.0 + ALIGNED.index(n)] if n in ALIGNED else [0.0] for n in model.matcher.names]
    model.residual.set_weights([np.array(weights, np.float32)])
    for layer in model.scorer.get_layer("head").last_layers():
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(tf.zeros_like(layer.bias))
    return Run(pathlib.Path("nowhere"), wanted, dataset.folder, features, model)


@pytest.fixture(scope="module")
def cosines(clip: pathlib.Path, dataset: Dataset) -> dict[str, np.ndarray]:
    """Cosines [lists, items] by name, from the towers' own vectors; 0 where a value is absent."""
    text = tf.saved_model.load(str(clip / "text"))
    photos = read_network(clip / "image").model(32, 32)
    photos.load_weights(clip / "image" / WEIGHTS_FILE)
    kind = Image(SCHEMA.features[3], {"weights": str(clip / "image")})

    def of_text(value: str | None) -> np.ndarray:
        made = text(tf.constant([value or ""])).numpy()[0]
        return made / np.linalg.norm(made) if value else 0 * made

    def of_photo(name: str | None) -> np.ndarray:
        if name is None:
            return np.zeros(10, np.float32)
        data = (dataset.folder / "photos" / name).read_bytes()
        made = photos(tf.cast(kind.preprocess(tf.constant([data])), tf.float32)).numpy()[0]
        return made / np.linalg.norm(made)

    asked = {"query": [of_text(q) for q, _ in QUERIES.values()]}
    asked["seen"] = [of_photo(s) for _, s in QUERIES.values()]
    offered = {"title": [of_text(t) for t in TITLES.values()]}
    offered["photo"] = [of_photo(p) for p in PHOTOS.values()]
    return {
        name: np.stack(asked[name.split("/")[0]]) @ np.stack(offered[name.split("/")[1]]).T
        for name in (*SHARED, *ALIGNED)
    }


def named(run: Run) -> list[str]:
    assert run.model.matcher is not None
    return [n for n in run.model.matcher.names if n.endswith("/cosine")]


def test_cosines_equal_those_of_the_towers(
    run: Run, dataset: Dataset, cosines: dict[str, np.ndarray]
) -> None:
    assert sorted(named(run)) == sorted((*SHARED, *ALIGNED))
    arrays = run.fitted.arrays(dataset, dataset.lists)
    features, there = match_features(run.model, ListScorer(run.model, 4, (4,)), arrays)
    assert run.model.matcher is not None
    for name, expected in cosines.items():
        position = run.model.matcher.names.index(name)
        given = np.where(there, features, 0.0)[:, position].reshape(3, 4)
        np.testing.assert_allclose(given, expected, atol=1e-5, err_msg=name)
        # The feature is absent where either value is absent.
        np.testing.assert_array_equal(there[:, position].reshape(3, 4), expected != 0)
        assert np.ptp(expected) > 0.05
    assert not cosines["query/photo/cosine"][:, 2].any()  # the item without a photo


@pytest.mark.slow
def test_the_export_scores_as_the_training_graph(
    run: Run, dataset: Dataset, cosines: dict[str, np.ndarray], tmp_path: pathlib.Path
) -> None:
    expected = sum((i + 1) * cosines[name] for i, name in enumerate(ALIGNED))
    arrays = run.fitted.arrays(dataset, dataset.lists)
    batch = Batches(arrays, 4, (4,)).make(np.arange(3))
    inputs = {n: tf.constant(v) for n, v in batch.items() if n != "grades"}
    np.testing.assert_allclose(run.model.network(inputs)[:3, :4], expected, atol=1e-5)
    np.testing.assert_allclose(run.score(dataset, dataset.lists).reshape(3, 4), expected, atol=1e-5)
    ranker = Ranker.load(export_run(run, tmp_path / "export", dataset))
    photos = dataset.folder / "photos"
    raw = []
    for item, title in TITLES.items():
        given: dict[str, object] = {"title": title} if title else {}
        raw.append(given | ({"photo": photos / PHOTOS[item]} if PHOTOS[item] else {}))
    for row, (text, photo) in enumerate(QUERIES.values()):
        query = ({"query": text} if text else {}) | ({"seen": photos / photo} if photo else {})
        for candidates in (list(TITLES), raw):
            scores = ranker.scores(query=query, candidates=candidates)
            np.testing.assert_allclose(scores, expected[row], atol=1e-5)


def test_towers_of_different_files_are_not_compared(
    clip: pathlib.Path, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    """This holds even if their vectors have the same width."""
    other = tmp_path / "text"
    shutil.copytree(clip / "text", other)
    write_space(other, "clip of another file")
    wanted = config(other, clip / "image")
    features = build_features(wanted, dataset.schema)
    features.fit(dataset)
    model = build_model(wanted, features)
    assert named(Run(tmp_path, wanted, dataset.folder, features, model)) == SHARED


def encoder(name: str, side: str, width: int, space: str) -> FeatureEncoder:
    spec = tf.TensorSpec([None, 4], tf.float32)
    return FeatureEncoder(name, side, spec, tf.keras.layers.Dense(width), space=space)


def test_one_id_pairs_two_encoders_once_and_none_pairs_nothing() -> None:
    shared = encoder("query", "query", 3, "one")
    items = [
        encoder("photo", "item", 3, "one"),
        dataclasses.replace(shared, name="title", side="item"),
        encoder("other", "item", 3, "two"),
        encoder("alone", "item", 3, ""),
    ]
    # The shared pair comes last: the query's projection is initialised as the map of its last pair.
    assert comparable([shared], items) == [("query", "photo"), ("query", "title")]
    assert comparable([encoder("query", "query", 3, "")], items) == []


def test_one_id_and_two_widths_are_an_error() -> None:
    features = [encoder("query", "query", 3, "one"), encoder("photo", "item", 5, "one")]
    with pytest.raises(ValueError, match=r"'query' and 'photo'.*vectors have 3 and 5 numbers"):
        ranking_model(
            features,
            width=4,
            fusion=make_fusion("concat", {}),
            head=build_head(Head(hidden=(4,))),
            matching=True,
        )


def test_a_photo_takes_size_and_fit_from_the_tower(clip: pathlib.Path) -> None:
    options = Image(SCHEMA.features[3], {"weights": str(clip / "image")}).options
    assert (options.height, options.width, options.network) == (32, 32, "VisionTransformer")
    assert (options.fit, options.interpolation) == ("crop", "bicubic")
    padded = Image(SCHEMA.features[3], {"weights": str(clip / "image"), "fit": "pad"}).options
    assert (padded.fit, padded.interpolation) == ("pad", "bicubic")
    for change, message in (
        ({"height": 64}, "height 64, but the tower in"),
        ({"fit": "cover"}, "fit 'cover' is unknown; known: pad, crop, stretch"),
        ({"weights": "none", "network": "VisionTransformer"}, "has no fixed shape"),
    ):
        with pytest.raises(ConfigError, match=message):
            Image(SCHEMA.features[3], {"weights": str(clip / "image"), **change})
