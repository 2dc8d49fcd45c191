"""A ranker with recordings, exported: WAVs from clients, files in Python, scores as in Keras."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
import yaml

from mmrank.build import build_features, build_model
from mmrank.config import Config, from_mapping
from mmrank.data.audio import wav_of
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError
from mmrank.trained_run import Run

RATE = 8000
SCHEMA: dict[str, Any] = {
    "media": "sounds",
    "lists": {"split": "split"},
    "features": [
        {"name": "spoken", "kind": "audio", "side": "query"},
        {"name": "sound", "kind": "audio", "side": "item"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "grade", "kind": "number", "side": "label"},
    ],
}
# By item: complete, at another rate, absent, cut off, complete.
SOUNDS = ["a.wav", "b.flac", None, "cut.wav", "e.wav"]
IDS = ["a", "b", "c", "d", "e"]


def recording(hertz: float, seconds: float, rate: int = RATE, form: str = "WAV") -> bytes:
    samples = 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


FILES = {
    "a.wav": recording(300, 0.2),
    "b.flac": recording(900, 0.3, 16000, "FLAC"),
    "cut.wav": recording(500, 0.3)[:2000],
    "e.wav": recording(2000, 0.6),
    "say.wav": recording(700, 0.25),
    "tell.wav": recording(1500, 0.35),
}


class Listener(tf.Module):
    """A hub model: the changes of a waveform from sample to sample, times a learned vector."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = tf.Variable([1.0, -2.0, 0.5])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        change = tf.reduce_mean(tf.abs(waveform[1:] - waveform[:-1]), keepdims=True)
        return change, [0.5, 0.5, 0.5] + change[:, None] * self.direction


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("loud")
    (folder / "sounds").mkdir()
    for name, data in FILES.items():
        (folder / "sounds" / name).write_bytes(data)
    pd.DataFrame({"item_id": IDS, "sound": SOUNDS, "price": [1.0, 2.0, 3.0, 4.0, 5.0]}).to_parquet(
        folder / "catalog.parquet"
    )
    lists = pd.DataFrame({"list_id": np.repeat(["1", "2", "3"], 5), "item_id": IDS * 3})
    lists["spoken"] = np.repeat(["say.wav", "tell.wav", None], 5)
    lists["grade"] = [0.0, 1.0, 2.0, 3.0, 0.0] * 3
    lists["split"] = np.repeat(["train", "valid", "test"], 5)
    lists.to_parquet(folder / "lists.parquet")
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA))
    return load_dataset(folder)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ranker with random weights: convolutions for items, a trainable hub model for queries."""
    handle = str(tmp_path_factory.mktemp("hub") / "listener")
    tf.saved_model.save(Listener(), handle)
    decoded = {"rate": RATE, "seconds": 0.5}
    conv = {"hop_ms": 20.0, "mels": 12, "filters": [4, 4]}
    plain = {
        "model": {
            "width": 8,
            "encoders": {
                "audio": decoded,
                "sound": conv,
                "spoken": {"encoder": "hub", "handle": handle, "trainable": True},
            },
            "head": {"hidden": [8]},
        }
    }
    tf.keras.utils.set_random_seed(2)
    config = from_mapping(Config, plain, "loud")
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    model = build_model(config, features)
    return Run(pathlib.Path("none"), config, dataset.folder, features, model)


@pytest.fixture(scope="module")
def ranker(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    return Ranker.load(export_run(run, tmp_path_factory.mktemp("run") / "export", dataset))


@pytest.fixture(scope="module")
def expected(run: Run, dataset: Dataset) -> np.ndarray:
    """The Keras model's scores of the three lists [3, 5]."""
    return run.score(dataset, dataset.lists).reshape(3, 5)


def test_recordings_change_scores_and_absent_ones_do_not(
    run: Run, dataset: Dataset, expected: np.ndarray
) -> None:
    silent = run.score(dataset, dataset.lists, drop=["sound"]).reshape(3, 5)
    changed = np.abs(silent - expected) > 1e-5
    assert changed.tolist() == [[True, True, False, False, True]] * 3
    assert (np.abs(expected[0] - expected[1]) > 1e-5).all()
    unasked = run.score(dataset, dataset.lists, drop=["spoken"]).reshape(3, 5)
    np.testing.assert_array_equal(unasked[2], expected[2])


def test_by_id(ranker: Ranker, expected: np.ndarray) -> None:
    for query, scores in zip([FILES["say.wav"], FILES["tell.wav"], None], expected, strict=True):
        np.testing.assert_allclose(ranker.scores(query, IDS), scores, rtol=0, atol=1e-5)


def test_a_file_in_python_has_the_scores_of_its_item(
    ranker: Ranker, dataset: Dataset, expected: np.ndarray
) -> None:
    """The file may have any format and rate."""
    path = dataset.folder / "sounds" / "a.wav"
    sounds: list[Any] = [path, FILES["b.flac"], None, b"", FILES["e.wav"]]
    candidates = [{"sound": s, "price": 1.0 + i} for i, s in enumerate(sounds)]
    scores = ranker.scores({"spoken": FILES["tell.wav"]}, candidates)
    np.testing.assert_allclose(scores, expected[1], rtol=0, atol=1e-5)


def test_a_wav_from_a_client_has_the_scores_of_its_item(
    ranker: Ranker, expected: np.ndarray
) -> None:
    """A WAV at the feature's rate is taken unchanged and cut in the graph."""
    sounds = [FILES["a.wav"], wav_of(FILES["b.flac"], RATE, 0.5), b"", b"anything", FILES["e.wav"]]
    scores = ranker.signatures["serving_default"](
        spoken=tf.constant([FILES["say.wav"]]),
        spoken_present=tf.constant([True]),
        sound=tf.constant([sounds]),
        sound_present=tf.constant([[True, True, True, False, True]]),
        price=tf.constant([[1.0, 2.0, 3.0, 4.0, 5.0]]),
        price_present=tf.ones([1, 5], tf.bool),
        list_length=tf.constant([5]),
    )["scores"]
    np.testing.assert_allclose(scores[0], expected[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [recording(300, 0.2, 16000), recording(300, 0.2, 8000, "FLAC")])
def test_another_rate_or_format_is_a_request_error(ranker: Ranker, wrong: bytes) -> None:
    message = "WAV of 8000 samples a second|[Hh]eader mismatch"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ranker.signatures["encode_items"](
            sound=tf.constant([wrong]),
            sound_present=tf.constant([True]),
            price=tf.constant([1.0]),
            price_present=tf.constant([True]),
        )


def test_the_error_names_a_broken_file(ranker: Ranker) -> None:
    with pytest.raises(RankError, match="candidate 0: sound: truncated; give another file"):
        ranker.scores(None, [{"sound": FILES["cut.wav"]}])
    with pytest.raises(RankError, match="query: spoken: not a sound; give another file"):
        ranker.scores(b"no sound", [{"price": 1.0}])
