"""Clips: strips, what counts as absent, attention over frames against NumPy, hub models."""

from __future__ import annotations

import io
import logging
import pathlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.encoders.frames import FrameAttention, HubClips, frames_there
from mmrank.encoders.frozen import Frozen, Tower
from mmrank.encoders.video import Video
from mmrank.schema import Feature

SMALL = {"frames": 3, "height": 32, "width": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1}


def video(**options: object) -> Video:
    return Video(Feature("clip", "video", "item", "clip"), {**SMALL, **options})


def gif(*levels: int) -> bytes:
    """A clip whose frame i has the uniform grey level `levels[i]`."""
    frames = [PIL.Image.new("L", (32, 32), level) for level in levels]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return file.getvalue()


def strip(*levels: int, height: int = 32, width: int = 32) -> bytes:
    """A strip of grey frames."""
    pixels = np.concatenate([np.full([height, width, 3], g, np.uint8) for g in levels])
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_strip_becomes_frames_and_missing_ones_are_zero():
    kind = video()
    given = kind.traced_preprocess()(tf.constant([strip(0, 9, 255), b"", strip(70)])).numpy()
    expected = np.zeros([3, 3, 32, 32, 3], np.uint8)
    expected[0] = np.array([1, 9, 255])[:, None, None, None]  # black is stored as 1
    expected[2, 0] = 70
    np.testing.assert_array_equal(given, expected)
    assert frames_there(tf.constant(given)).numpy().tolist() == [[True] * 3, [False] * 3] + [
        [True, False, False]
    ]


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (strip(1, 2, 3, 4), r"\[128\] \[32\]"),  # more frames than the feature has
        (strip(1, width=31), r"\[32\] \[31\]"),
        (strip(1, height=33), r"\[33\] \[32\]"),
    ],
    ids=["long", "narrow", "high"],
)
def test_the_error_of_a_wrong_strip_says_the_expected_shape(data: bytes, got: str):
    step = video().traced_preprocess()
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=rf"clip: a clip is sent as one image of n \* 32 x 32 .*n from 1 to 3; got .*{got}",
    ):
        step(tf.constant([data]))


@pytest.fixture
def files(tmp_path: pathlib.Path) -> MediaStore:
    """Two clips among files that are not clips."""
    whole = gif(20, 90, 160)
    (tmp_path / "whole.gif").write_bytes(whole)
    (tmp_path / "short.gif").write_bytes(gif(200))
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.gif").write_bytes(b"GIF89a\x20\0\x20\0\0\0\0;")
    (tmp_path / "text.mp4").write_text("no video")
    return MediaStore(tmp_path)


COLUMN = pd.Series(
    ["whole.gif", "cut.gif", None, "empty.gif", "text.mp4", "gone.mp4", "short.gif", "whole.gif"]
)
PRESENT = [True, False, False, False, False, False, True, True]


def test_missing_and_broken_files_are_absent_and_counted(files: MediaStore, caplog):
    with caplog.at_level(logging.WARNING):
        clips, present = video().arrays(COLUMN, files)
    assert present.tolist() == PRESENT
    assert (clips.shape, clips.dtype) == ((8, 3, 32, 32, 3), np.uint8)
    assert clips[:, :, 5, 6, 1].tolist() == [
        *([20, 90, 160], [0] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3),
        *([200, 0, 0], [20, 90, 160]),
    ]
    assert "clip: 4 of 7 files are missing or broken" in caplog.text
    assert not video().arrays(COLUMN, None)[1].any()


def test_arrays_equal_those_of_the_served_graph(files: MediaStore):
    """The served graph runs `preprocess` on the output of `read`."""
    kind = video()
    raw, present = kind.read(COLUMN, files)
    clips, there = kind.arrays(COLUMN, files)
    np.testing.assert_array_equal(present, there)
    np.testing.assert_array_equal(kind.traced_preprocess()(tf.constant(raw)).numpy(), clips)


def test_absent_clips_cost_no_decoding(files: MediaStore, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(MediaStore, "read", lambda _, name: seen.append(name))
    clips, present = video().arrays(pd.Series([None, "", "whole.gif", None]), files)
    assert seen == ["whole.gif"]
    assert clips.shape[0] == len(present) == 4


# ---- attention over the frames


def means() -> tf.keras.Model:
    """A tower whose features are the mean colours, 0 to 1."""
    pixels = tf.keras.Input((32, 32, 3), dtype=tf.uint8)
    return tf.keras.Model(pixels, tf.reduce_mean(tf.cast(pixels, tf.float32) / 255, [1, 2]))


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Two clips of four frames and one of two, of plain colours."""
    colours = np.random.default_rng(0).integers(1, 256, [3, 4, 3])
    colours[2, 2:] = 0
    return np.tile(colours[:, :, None, None], [1, 1, 32, 32, 1]).astype(np.uint8)


@pytest.fixture(scope="module")
def attention(clips: np.ndarray) -> FrameAttention:
    """A layer with distinct random weights."""
    tf.keras.utils.set_random_seed(4)
    layer = FrameAttention(means(), width=8, heads=2)
    layer(clips)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])
    return layer


def attended(layer: FrameAttention, clip: np.ndarray) -> np.ndarray:
    """The embedding [8] of the present frames [n, 32, 32, 3], by plain NumPy."""
    x = clip.mean(axis=(1, 2)) / 255.0
    dense = layer.projection
    x = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0)
    x = x + layer.positions.get_weights()[0][: len(x)]
    norm = layer.norm
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + norm.epsilon)
    x = x * norm.gamma.numpy() + norm.beta.numpy()
    # Kernels and biases of query, key, value [8, heads, 4] and of the output [heads, 4, 8].
    wq, bq, wk, bk, wv, bv, wo, bo = layer.attention.get_weights()
    out = bo
    for head in range(2):
        query = layer.query.numpy()[0, 0] @ wq[:, head] + bq[head]
        keys, values = x @ wk[:, head] + bk[head], x @ wv[:, head] + bv[head]
        weights = np.exp(keys @ query / np.sqrt(4))
        out = out + (weights / weights.sum()) @ values @ wo[head]
    return out


def test_frames_are_attended_to_as_in_numpy(attention: FrameAttention, clips: np.ndarray):
    expected = [attended(attention, c[:n]) for c, n in zip(clips, (4, 4, 2), strict=True)]
    np.testing.assert_allclose(attention(clips), expected, rtol=1e-4, atol=1e-5)


def test_eager_equals_graph(attention: FrameAttention, clips: np.ndarray):
    graph = tf.function(attention)
    np.testing.assert_allclose(graph(tf.constant(clips)), attention(clips), atol=1e-6)


def test_the_order_of_frames_matters_by_their_positions(
    attention: FrameAttention, clips: np.ndarray
):
    backwards = clips[:2, ::-1]
    assert np.abs(attention(backwards) - attention(clips[:2])).max() > 0.01
    weights = attention.get_weights()
    attention.positions.set_weights([np.zeros([4, 8])])
    np.testing.assert_allclose(attention(backwards), attention(clips[:2]), atol=1e-5)
    attention.set_weights(weights)


def test_missing_frames_change_nothing(attention: FrameAttention, clips: np.ndarray):
    other = clips.copy()
    other[2, 2:, 1:] = 200  # a frame whose first pixel is zero counts as absent
    np.testing.assert_array_equal(attention(other), attention(clips))


def test_a_clip_without_frames_is_finite(attention: FrameAttention):
    assert np.isfinite(attention(np.zeros([2, 4, 32, 32, 3], np.uint8))).all()


def test_gradients_are_finite(attention: FrameAttention, clips: np.ndarray):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(attention(clips, training=True) ** 2)
    for weight, gradient in zip(
        attention.trainable_weights, tape.gradient(loss, attention.trainable_weights), strict=True
    ):
        dense = tf.convert_to_tensor(gradient)
        assert np.isfinite(dense).all(), weight.name


def test_the_network_on_frames_never_mirrors(clips: np.ndarray):
    layer = video(frames=4, momentum=0.7, attention_width=12, heads=3).encoder(99)
    assert layer(clips).shape == (3, 12)
    inside = list(layer._flatten_layers())
    norms = [la for la in inside if isinstance(la, tf.keras.layers.BatchNormalization)]
    assert {n.momentum for n in norms} == {0.7}
    assert not any(isinstance(la, tf.keras.layers.RandomFlip) for la in inside)


# ---- hub models


class FirstAndLast(tf.train.Checkpoint):
    """Embeddings [N, 3]: scale × (mean of the first frame, of the last frame, largest value)."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)
        self.variables = self.trainable_variables = [self.scale]
        spec = tf.TensorSpec([None, None, None, None, 3], tf.float32)
        self.__call__ = tf.function(
            self.encode, input_signature=[{"image": spec} if named else spec]
        )

    def encode(self, clips: tf.Tensor | dict[str, tf.Tensor]) -> tf.Tensor:
        clips = clips["image"] if isinstance(clips, dict) else clips
        means = tf.reduce_mean(clips, [2, 3, 4])
        parts = [means[:, 0], means[:, -1], tf.reduce_max(clips, [1, 2, 3, 4])]
        return self.scale * tf.stack(parts, -1)


@pytest.fixture(scope="module")
def handles(tmp_path_factory) -> dict[str, str]:
    """Hub models by the name of their input."""
    folder = tmp_path_factory.mktemp("hub")
    for named in (False, True):
        tf.saved_model.save(FirstAndLast(named), str(folder / str(named)))
    return {"": str(folder / "False"), "image": str(folder / "True")}


@pytest.mark.parametrize("named", ["", "image"])
def test_a_hub_model_reads_values_from_0_to_1(handles, named: str, files: MediaStore):
    kind = video(encoder="hub", handle=handles[named], input=named, trainable=True)
    assert not kind.frozen
    layer = kind.encoder(99)
    assert isinstance(layer, HubClips)
    given = layer(kind.arrays(COLUMN[PRESENT], files)[0])
    # The only frame of the short clip is both its first and its last.
    expected = 2 * np.array([[20, 160, 160], [200, 200, 200], [20, 160, 160]]) / 255
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    assert len(layer.trainable_weights) == 1


def test_a_frozen_hub_model_runs_once_per_clip(handles, files: MediaStore, tmp_path: pathlib.Path):
    inner = video(encoder="hub", handle=handles[""])
    assert inner.frozen
    kind = Frozen(inner, Tower(inner), tmp_path / "cache")
    kind.fit(COLUMN)
    embeddings, present = kind.arrays(COLUMN, files)
    assert present.tolist() == PRESENT
    given = np.asarray(embeddings[np.arange(8)])[PRESENT]
    expected = 2 * np.array([[20, 160, 160], [200, 200, 200], [20, 160, 160]]) / 255
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    assert kind.card() == {"strip": [3, 32, 32]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "moving"}, "unknown video encoder 'moving'; known: frames, hub"),
        ({"encoder": "hub"}, "encoder hub needs `handle`"),
        ({"network": "EfficientNetB"}, "unknown network 'EfficientNetB'.*did you mean"),
        ({"height": 31}, "31 x 32 pixels are too small"),
        ({"frames": 0}, "frames: expected 1 or more, got 0"),
        ({"frame": 3}, "unknown key 'frame'.*did you mean 'frames'"),
    ],
)
def test_wrong_options_are_refused(options, message: str):
    with pytest.raises(ConfigError, match=message):
        video(**options)
