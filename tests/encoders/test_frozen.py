"""Frozen encoders: one pass, kept on disk, equal to running the encoder on every value."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.encoders import frozen as module
from mmrank.encoders.frozen import Frozen, Tower
from mmrank.encoders.image import Image
from mmrank.encoders.text import Text
from mmrank.schema import Feature

SMALL = {
    "height": 32,
    "width": 32,
    "network": "EfficientNet",
    "width_coefficient": 0.1,
    "depth_coefficient": 0.1,
    "trainable": False,
}
WORDS = pd.Series(["red dress", None, "手机壳", "red dress", "mug", "", "lamp"])


class Lengths(tf.train.Checkpoint):
    """Embeddings [N, 2] of texts [N]: scale × (bytes, 1). Not a tf.Module; see test_text.py."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = tf.Variable(scale)
        self.variables = self.trainable_variables = [self.scale]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        bytes_ = tf.cast(tf.strings.length(texts), tf.float32)
        return self.scale * tf.stack([bytes_, tf.ones_like(bytes_)], -1)


@pytest.fixture(scope="module")
def handles(tmp_path_factory) -> list[str]:
    """Two hub models with the same graph and different weights."""
    folder = tmp_path_factory.mktemp("hub")
    for scale in (1.0, 2.0):
        tf.saved_model.save(Lengths(scale), str(folder / str(scale)))
    return [str(folder / "1.0"), str(folder / "2.0")]


def text(handle: str, cache: pathlib.Path | None, **options: object) -> Frozen:
    inner = Text(
        Feature("title", "text", "item", "t"), {"encoder": "hub", "handle": handle} | options
    )
    kind = Frozen(inner, Tower(inner), cache)
    kind.fit(WORDS)
    return kind


def counted(kind: Frozen, stop_after: int = 99) -> list[int]:
    """Sizes of the batches that the kind's encoder runs on from now on."""
    sizes: list[int] = []
    embed = kind.tower.embed

    def run(raw: tf.Tensor) -> tf.Tensor:
        if len(sizes) == stop_after:
            raise KeyboardInterrupt
        sizes.append(len(raw))
        return embed(raw)

    vars(kind.tower)["embed"] = run
    return sizes


# By hand: the bytes of the text (three per Chinese character) and 1; zeros where it is absent.
EXPECTED = np.array([[9, 1], [0, 0], [9, 1], [9, 1], [3, 1], [0, 0], [4, 1]], np.float32)


def test_embeddings_are_computed_once_per_distinct_value(handles, tmp_path):
    kind = text(handles[0], tmp_path)
    sizes = counted(kind)
    rows, present = kind.arrays(WORDS, None)
    np.testing.assert_array_equal(np.asarray(rows), EXPECTED)
    assert present.tolist() == EXPECTED.any(1).tolist()
    assert sizes == [4]  # the absent ones are not encoded
    assert kind.input_spec() == tf.TensorSpec([None, 2], tf.float32)
    again, _ = kind.arrays(WORDS[::-1], None)
    np.testing.assert_array_equal(np.asarray(again), EXPECTED[::-1])
    assert sizes == [4]


def test_only_new_items_are_computed(handles, tmp_path):
    kind = text(handles[0], tmp_path)
    kind.arrays(WORDS[:4], None)
    other = text(handles[0], tmp_path)
    sizes = counted(other)
    np.testing.assert_array_equal(np.asarray(other.arrays(WORDS, None)[0]), EXPECTED)
    assert sizes == [2]  # mug and lamp


def test_an_interrupted_pass_continues_where_it_stopped(handles, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    monkeypatch.setattr(module, "READ_ROWS", 2)
    many = pd.Series([f"{'x' * i}" for i in range(1, 11)])
    first = text(handles[0], tmp_path)
    sizes = counted(first, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        first.arrays(many, None)
    assert sizes == [3, 3]
    second = text(handles[0], tmp_path)
    sizes = counted(second)
    rows, _ = second.arrays(many, None)
    assert sum(sizes) == 10 - 6
    np.testing.assert_array_equal(np.asarray(rows)[:, 0], np.arange(1, 11))


def test_without_a_cache_nothing_is_kept(handles):
    kind = text(handles[0], None)
    sizes = counted(kind)
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(kind.arrays(WORDS, None)[0]), EXPECTED)
    assert sizes == [4, 4]


def test_the_cache_folder_depends_on_weights_options_and_preprocessing(
    handles, tmp_path, monkeypatch
):
    def folders() -> int:
        return len(list(tmp_path.iterdir()))

    text(handles[0], tmp_path).arrays(WORDS, None)
    text(handles[0], tmp_path, group="other", dropout=0.5).arrays(WORDS, None)
    assert folders() == 1  # neither option changes an embedding
    rows, _ = text(handles[1], tmp_path).arrays(WORDS, None)
    np.testing.assert_array_equal(np.asarray(rows), 2 * EXPECTED)
    assert folders() == 2
    text(handles[0], tmp_path, normalization="NFD").arrays(WORDS, None)
    assert folders() == 3
    monkeypatch.setattr(Text, "revision", Text.revision + 1)
    text(handles[0], tmp_path).arrays(WORDS, None)
    assert folders() == 4


def test_a_moved_hub_folder_is_the_same_and_other_weights_are_refused(handles, tmp_path):
    kind = text(handles[0], None)
    moved = tmp_path / "moved"
    pathlib.Path(handles[0]).rename(moved)
    try:
        text(str(moved), None).restore(kind.state())
    finally:
        moved.rename(handles[0])
    with pytest.raises(ConfigError, match=r"'title'.*not those that the ranker was trained with"):
        text(handles[1], None).restore(kind.state())


def test_features_of_one_encoder_share_one_tower(handles):
    one = text(handles[0], None)
    other = Frozen(one.inner, one.tower)
    assert one.traced_preprocess() is other.traced_preprocess()


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Frozen:
    """A frozen network whose weights come from a file, and its photos in `photos`."""
    folder = tmp_path_factory.mktemp("photo")
    learning = Image(Feature("photo", "image", "item", "p"), {**SMALL, "trainable": True})
    (network,) = [la for la in learning.encoder(9).layers if isinstance(la, tf.keras.Model)]
    for weight in network.weights:
        # Otherwise a new network has almost the same outputs for any photo.
        if "kernel" in weight.name:
            weight.assign(1.5 * weight)
    network.save_weights(folder / "tower.weights.h5")
    options = {**SMALL, "weights": str(folder / "tower.weights.h5"), "dropout": 0.5}
    inner = Image(Feature("photo", "image", "item", "p"), options)
    kind = Frozen(inner, Tower(inner), folder / "cache")
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        kind.fit(pd.Series([], dtype=str))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    generator = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in "abc":
        pixels = generator.integers(0, 256, [40, 32, 3], np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
    (folder / "photos" / "broken.png").write_bytes(b"no photo")
    vars(kind)["photos"] = MediaStore(folder / "photos")
    return kind


def test_photos_are_embedded_in_float32_as_by_the_tower(photo, caplog):
    names = pd.Series(["b.png", "gone.png", "a.png", "broken.png", "", "b.png", "c.png"])
    sizes = counted(photo)
    with caplog.at_level("WARNING"):
        rows, present = photo.arrays(names, photo.photos)
    assert sizes == [3]
    assert present.tolist() == [True, False, True, False, False, True, True]
    assert "photo: 2 values are missing or broken" in caplog.text
    pixels, _ = photo.inner.arrays(names, photo.photos)
    expected = photo.tower.layer.encoder(pixels, training=False).numpy()
    assert expected.dtype == np.float32
    expected[~present] = 0
    # float32 sums of values up to 30, in an order that depends on threads.
    np.testing.assert_allclose(np.asarray(rows), expected, rtol=1e-4, atol=1e-3)
    assert np.ptp(expected[present], axis=0).max() > 1e-3  # the photos differ


def test_a_frozen_photo_in_the_graph_skips_absent_rows(photo):
    raw = photo.inner.read(pd.Series(["a.png", "", "c.png"]), photo.photos)[0]
    given = tf.function(photo.preprocess)(tf.constant(raw, tf.string)).numpy()
    rows, _ = photo.arrays(pd.Series(["a.png", "", "c.png"]), photo.photos)
    np.testing.assert_allclose(given, np.asarray(rows), rtol=1e-4, atol=1e-3)
    assert not given[1].any()


def test_training_drops_numbers_of_a_frozen_photo(photo):
    """Half of the numbers are dropped and the others doubled; outside training nothing changes."""
    layer = photo.encoder(9)
    ones = tf.ones([4, photo.width])
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    dropped = layer(ones, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}


def test_a_random_tower_is_not_frozen():
    with pytest.raises(ConfigError, match=r"'photo'.*needs weights; set `weights` to imagenet"):
        Image(Feature("photo", "image", "item", "p"), SMALL)
    with pytest.raises(ConfigError, match=r"'title'.*needs weights; set `weights` to the folder"):
        Text(Feature("title", "text", "item", "t"), {"trainable": False})


def test_a_missing_handle_or_weights_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="handle.*is not available"):
        text(str(tmp_path / "gone"), None)
    lost = Image(Feature("p", "image", "item", "p"), {**SMALL, "weights": str(tmp_path / "gone")})
    with pytest.raises(ConfigError, match="gone.*do not load"):
        lost.weights_hash()


def test_fetch_and_read_agree(photo):
    names = pd.Series(["a.png", "broken.png", "gone.png", ""])
    fetched = photo.inner.fetch(names, photo.photos)
    raw, present = photo.inner.read(names, photo.photos)
    assert isinstance(fetched, np.ndarray)
    assert [bool(v) for v in fetched] == [True, True, False, False]
    assert raw.tolist() == [fetched[0], b"", b"", b""]
    assert present.tolist() == [True, False, False, False]
