"""All kinds of bad input at once: counted with reasons, treated as absent, never fatal."""

from __future__ import annotations

import io
import pathlib
import struct
import wave

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf
import yaml

from mmrank.build import build_features, build_model
from mmrank.config import Config, from_mapping
from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.trained_run import Run

FEATURES = [
    {"name": "query", "kind": "text", "side": "query"},
    {"name": "title", "kind": "text", "side": "item"},
    {"name": "photo", "kind": "image", "side": "item"},
    {"name": "sound", "kind": "audio", "side": "item"},
    {"name": "clip", "kind": "video", "side": "item"},
    {"name": "reviews", "kind": "reviews", "side": "item"},
    {"name": "grade", "kind": "number", "side": "label"},
]
BERT = {"layers": 1, "heads": 2, "hidden": 8, "intermediate": 8, "max_tokens": 4}
TOWER = {"height": 32, "width": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1}
CONFIG = {
    "model": {
        "width": 8,
        "encoders": {
            "text": {**BERT, "vocabulary_size": 50},
            "reviews": {**BERT, "vocabulary_size": 50, "max_reviews": 2},
            "image": {**TOWER, "network": "EfficientNet"},
            "video": {**TOWER, "frames": 2, "attention_width": 8, "heads": 2},
            "audio": {"rate": 8000, "seconds": 0.5, "mels": 16, "filters": [4]},
        },
        "head": {"hidden": [8]},
    }
}


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, [40, 40, 3], np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def hundred_megapixels() -> bytes:
    file = io.BytesIO()
    PIL.Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((2000 * np.sin(np.arange(4000) / 3)).astype("<i2").tobytes())
    return file.getvalue()


def gif() -> bytes:
    frames = [PIL.Image.new("L", (16, 16), level) for level in (0, 99)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


NO_FRAME = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b";"
MEDIA = {
    "whole.jpg": jpeg(),
    "cut.jpg": jpeg()[: len(jpeg()) // 2],
    "huge.png": hundred_megapixels(),
    "whole.wav": wav(),
    "text.wav": b"this is no sound" * 40,
    "whole.gif": gif(),
    "none.gif": NO_FRAME,
}
# The first item is completely valid; each of the others has exactly one bad part.
ITEMS = pd.DataFrame(
    [
        ("whole", "whole.jpg", "whole.wav", "whole.gif", ["good", "bad"]),
        ("cut photo", "cut.jpg", "whole.wav", "whole.gif", ["good"]),
        ("huge photo", "huge.png", "whole.wav", "whole.gif", ["good"]),
        ("no sound", "whole.jpg", "text.wav", "whole.gif", ["good"]),
        ("no frame", "whole.jpg", "whole.wav", "none.gif", ["good"]),
        ("empty review", "whole.jpg", "whole.wav", "whole.gif", ["", " \u3000"]),
        ("all bad", "cut.jpg", "text.wav", "none.gif", [""]),
    ],
    columns=["title", "photo", "sound", "clip", "reviews"],
)
PRESENT = {
    "title": [True, True, True, True, True, True, True],
    "photo": [True, False, False, True, True, True, False],
    "sound": [True, True, True, False, True, True, False],
    "clip": [True, True, True, True, False, True, False],
    "reviews": [True, True, True, True, True, False, False],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "media").mkdir()
    for name, data in MEDIA.items():
        (folder / "media" / name).write_bytes(data)
    ids = [f"i{n}" for n in range(len(ITEMS))]
    ITEMS.assign(item_id=ids).to_parquet(folder / "catalog.parquet")
    lists = pd.DataFrame({"list_id": np.repeat(["1", "2", "3"], len(ids)), "item_id": ids * 3})
    lists["query"], lists["split"] = "good", np.repeat(["train", "valid", "test"], len(ids))
    lists["grade"] = np.tile(np.arange(len(ids), dtype=float) % 4, 3)
    lists.to_parquet(folder / "lists.parquet")
    schema = {"media": "media", "lists": {"split": "split"}, "features": FEATURES}
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    return folder


@pytest.mark.slow
def test_bad_inputs_of_every_kind(folder: pathlib.Path) -> None:
    report = validate_dataset(folder, media="all")
    assert report.errors == ()
    whole = {"named": 7, "missing": 0, "checked": 7}
    assert report.counts["media"] == {
        "photo": {**whole, "broken": 3},
        "sound": {**whole, "broken": 2},
        "clip": {**whole, "broken": 2},
    }
    assert report.counts["empty_texts"] == {"query": 0, "title": 0, "reviews": 2}
    said = {f.column: str(f) for f in report.warnings}
    for reason in (
        "row 2: 'cut.jpg' (truncated)",
        "row 3: 'huge.png' (too large: 100 megapixels)",
        "row 7: 'cut.jpg' (truncated)",
    ):
        assert reason in said["photo"]
    for column, reason in (
        ("sound", "row 4: 'text.wav' (not a sound), row 7: 'text.wav' (not a sound)"),
        ("clip", "row 5: 'none.gif' (no frames), row 7: 'none.gif' (no frames)"),
    ):
        assert reason in said[column]

    tf.keras.utils.set_random_seed(1)
    config = from_mapping(Config, CONFIG, "bad")
    dataset = load_dataset(folder)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    arrays = features.item_arrays(dataset)
    for name, present in PRESENT.items():
        assert arrays[f"{name}_present"].tolist() == present, name

    run = Run(pathlib.Path("none"), config, folder, features, build_model(config, features))
    scores = run.score(dataset, dataset.lists.iloc[: len(ITEMS)])
    assert np.isfinite(scores).all()
    # An item with only a valid title scores as if all media were dropped.
    media = ["photo", "sound", "clip", "reviews"]
    without = run.score(dataset, dataset.lists.iloc[: len(ITEMS)], drop=media)
    np.testing.assert_allclose(scores[-1], without[-1], rtol=0, atol=1e-5)
    assert np.abs(scores[:-1] - without[:-1]).min() > 1e-6
