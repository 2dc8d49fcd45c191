"""A ranker with clips, exported: strips from clients and files in Python score as in Keras."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf
import yaml

from mmrank.build import build_features, build_model
from mmrank.config import Config, from_mapping
from mmrank.data.tables import Dataset, load_dataset
from mmrank.data.video import clip_strip
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError
from mmrank.trained_run import Run

SCHEMA = {
    "media": "clips",
    "features": [
        {"name": "query", "kind": "category", "side": "query"},
        {"name": "clip", "kind": "video", "side": "item"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "grade", "kind": "number", "side": "label"},
    ],
}
CONFIG = {
    "model": {
        "width": 8,
        "encoders": {
            "video": {
                "frames": 3,
                "height": 32,
                "width": 32,
                "width_coefficient": 0.1,
                "depth_coefficient": 0.1,
                "attention_width": 8,
                "heads": 2,
            }
        },
        "head": {"hidden": [8]},
    }
}
# By item: complete, one frame, absent, cut off, complete.
CLIPS = ["a.gif", "b.gif", None, "cut.gif", "e.gif"]


def gif(*levels: int) -> bytes:
    """A clip whose frame i is a gradient, brightened by `levels[i]`."""
    plain = PIL.Image.linear_gradient("L").resize((40, 30))
    pictures = [plain.point([min(255, v + level) for v in range(256)]) for level in levels]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=100, loop=0)
    return file.getvalue()


FILES = {"a.gif": gif(0, 60, 120, 180), "b.gif": gif(90), "e.gif": gif(200, 100, 0)}
FILES["cut.gif"] = FILES["a.gif"][:-200]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("moving")
    (folder / "clips").mkdir()
    for name, data in FILES.items():
        (folder / "clips" / name).write_bytes(data)
    ids = ["a", "b", "c", "d", "e"]
    pd.DataFrame({"item_id": ids, "clip": CLIPS, "price": [1.0, 2.0, 3.0, 4.0, 5.0]}).to_parquet(
        folder / "catalog.parquet"
    )
    lists = pd.DataFrame({"list_id": np.repeat(["1", "2", "3"], 5), "item_id": ids * 3})
    lists["query"] = np.repeat(["red", "blue", "red"], 5)
    lists["grade"] = [0.0, 1.0, 2.0, 3.0, 0.0] * 3
    lists["split"] = np.repeat(["train", "valid", "test"], 5)
    lists.to_parquet(folder / "lists.parquet")
    schema = {**SCHEMA, "lists": {"split": "split"}}
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    return load_dataset(folder)


@pytest.fixture(scope="module")
def run(dataset: Dataset) -> Run:
    """A ranker with random weights."""
    tf.keras.utils.set_random_seed(2)
    config = from_mapping(Config, CONFIG, "moving")
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    return Run(
        pathlib.Path("none"), config, dataset.folder, features, build_model(config, features)
    )


@pytest.fixture(scope="module")
def ranker(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    return Ranker.load(export_run(run, tmp_path_factory.mktemp("run") / "export", dataset))


@pytest.fixture(scope="module")
def expected(run: Run, dataset: Dataset) -> np.ndarray:
    """The Keras model's scores of the first list."""
    return run.score(dataset, dataset.lists.iloc[:5])


def test_clips_change_scores_and_absent_ones_do_not(run: Run, dataset: Dataset, expected):
    without = run.score(dataset, dataset.lists.iloc[:5], drop=["clip"])
    changed = np.abs(without - expected) > 1e-5
    assert changed.tolist() == [True, True, False, False, True]
    arrays = dict(run.items(dataset))
    assert arrays["clip_present"].tolist() == [True, True, False, False, True]
    arrays["clip"] = arrays["clip"].copy()
    arrays["clip"][2:4] = 77
    tower = run.model.item_tower
    given = [
        tower({n: tf.constant(a) for n, a in of.items()}) for of in (arrays, run.items(dataset))
    ]
    np.testing.assert_array_equal(given[0]["tokens"], given[1]["tokens"])


def test_by_id(ranker: Ranker, expected: np.ndarray):
    scores = ranker.scores("red", ["a", "b", "c", "d", "e"])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_a_file_in_python_has_the_scores_of_its_item(
    ranker: Ranker, dataset: Dataset, expected: np.ndarray
):
    path = dataset.folder / "clips" / "a.gif"
    clips: list[Any] = [path, FILES["b.gif"], None, b"", str(dataset.folder / "clips" / "e.gif")]
    candidates = [{"clip": c, "price": 1.0 + i} for i, c in enumerate(clips)]
    scores = ranker.scores("red", candidates)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_a_strip_from_a_client_has_the_scores_of_its_item(ranker: Ranker, expected: np.ndarray):
    strips = [clip_strip(FILES[n], 3, 32, 32) for n in ("a.gif", "b.gif", "e.gif")]
    values = np.array([[strips[0], strips[1], b"", b"anything", strips[2]]], object)
    scores = ranker.signatures["serving_default"](
        query=tf.constant(["red"]),
        query_present=tf.constant([True]),
        clip=tf.constant(values),
        clip_present=tf.constant([[True, True, True, False, True]]),
        price=tf.constant([[1.0, 2.0, 3.0, 4.0, 5.0]]),
        price_present=tf.ones([1, 5], tf.bool),
        list_length=tf.constant([5]),
    )["scores"]
    np.testing.assert_allclose(scores[0], expected, rtol=0, atol=1e-5)


def test_a_wrong_strip_is_a_request_error(ranker: Ranker):
    wrong = clip_strip(FILES["a.gif"], 3, 16, 32)  # 48 x 32 pixels
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"clip: .* n \* 32 x 32 .*\[48\] \[32\]"
    ):
        ranker.signatures["encode_items"](
            clip=tf.constant([wrong]),
            clip_present=tf.constant([True]),
            price=tf.constant([1.0]),
            price_present=tf.constant([True]),
        )


def test_the_error_names_a_broken_file(ranker: Ranker):
    with pytest.raises(RankError, match="candidate 0: clip: truncated; give another file"):
        ranker.scores("red", [{"clip": FILES["cut.gif"]}])
    with pytest.raises(RankError, match="candidate 0: clip: not a video; give another file"):
        ranker.scores("red", [{"clip": b"no video"}])
