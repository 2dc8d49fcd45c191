"""Photos: decoding against Pillow, what counts as absent, networks, weights files."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import logging
import pathlib
import urllib.error

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.encoders.image import Image, _over_white
from mmrank.encoders.image_networks import KERAS, NETWORKS
from mmrank.encoders.imported.folder import NETWORK_FILE, WEIGHTS_FILE, ImportedNetwork
from mmrank.schema import Feature

SMALL = {
    "height": 32,
    "width": 32,
    "network": "EfficientNet",
    "width_coefficient": 0.1,
    "depth_coefficient": 0.1,
}


def image(**options: object) -> Image:
    return Image(Feature("photo", "image", "item", "photo"), {**SMALL, **options})


def smooth(width: int, height: int) -> PIL.Image.Image:
    """A picture whose colours change slowly, so that JPEG and scaling hardly alter them."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    colours = np.stack([40 + 180 * x, 220 - 150 * y, 60 + 90 * (x + y)], -1)
    return PIL.Image.fromarray(colours.round().astype(np.uint8))


def encoded(picture: PIL.Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **({"quality": 95} if form == "JPEG" else {}))
    return out.getvalue()


def decoded(kind: Image, *files: bytes) -> np.ndarray:
    return kind.traced_preprocess()(tf.constant(list(files))).numpy().astype(float)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_decoding_agrees_with_pillow(form):
    """Pillow widens its triangle filter when it shrinks, as TensorFlow does with `antialias`."""
    picture = smooth(96, 96)
    if form == "GIF":  # 256 colours: grey levels survive the palette
        picture = picture.convert("L")
    expected = picture.convert("RGB").resize((32, 32), PIL.Image.Resampling.BILINEAR)
    (given,) = decoded(image(), encoded(picture, form))
    assert np.abs(given - np.asarray(expected, float)).max() <= 3


def test_grey_and_transparent_pictures_have_three_colours():
    grey = smooth(32, 32).convert("L")
    clear = smooth(32, 32).convert("RGBA")
    one, two = decoded(image(), encoded(grey, "PNG"), encoded(clear, "PNG"))
    np.testing.assert_array_equal(one, np.asarray(grey)[..., None].repeat(3, 2))
    np.testing.assert_array_equal(two, np.asarray(smooth(32, 32)))


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((64, 32), slice(8, 24), slice(0, 32)),
        ((16, 64), slice(0, 32), slice(12, 20)),
        ((8, 8), slice(0, 32), slice(0, 32)),
        ((400, 1), slice(15, 16), slice(0, 32)),
    ],
)
def test_proportions_are_kept_and_the_rest_is_white(size, rows, columns):
    """Size of a black photo, and where it is placed."""
    black = PIL.Image.new("RGB", size)
    (given,) = decoded(image(), encoded(black, "PNG"))
    expected = np.full([32, 32, 3], 255.0)
    expected[rows, columns] = 0
    np.testing.assert_array_equal(given, expected)


def over_white(picture: PIL.Image.Image) -> np.ndarray:
    """The picture as shown on a white page."""
    page = PIL.Image.new("RGBA", picture.size, "white")
    page.alpha_composite(picture.convert("RGBA"))
    return np.asarray(page.convert("RGB"), float)


def cut_out(mode: str) -> PIL.Image.Image:
    """A red product of 32 x 32 pixels on a transparent background, half of it half transparent."""
    picture = PIL.Image.new("RGBA", (32, 32))
    picture.paste((220, 20, 30, 255), (8, 8, 24, 16))
    if mode != "P":  # a palette has only one fully transparent colour
        picture.paste((220, 20, 30, 128), (8, 16, 24, 24))
    return picture if mode == "RGBA" else picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(mode):
    picture = cut_out(mode)
    (given,) = decoded(image(), encoded(picture, "PNG"))
    assert np.abs(given - over_white(picture)).max() <= 1
    assert (given[0, 0] == 255).all()


def test_every_colour_and_transparency_is_rounded_to_the_nearest():
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    pixels = np.stack([colour, colour, colour, alpha], axis=-1).astype(np.uint8)
    wanted = np.round(colour * (alpha / 255) + 255 * (1 - alpha / 255))
    given = tf.io.decode_png(tf.io.encode_png(pixels), channels=4)
    np.testing.assert_array_equal(_over_white(given), np.repeat(wanted[..., None], 3, axis=-1))
    pixels[..., 3] = 255
    np.testing.assert_array_equal(_over_white(tf.constant(pixels)), pixels[..., :3])


def test_a_transparent_gif_is_white_where_it_is_read(tmp_path: pathlib.Path):
    data = encoded(cut_out("RGBA"), "GIF")
    (tmp_path / "a.gif").write_bytes(data)
    picture = PIL.Image.open(io.BytesIO(data))
    pixels, present = image().arrays(pd.Series(["a.gif"]), MediaStore(tmp_path))
    assert present.all()
    assert np.abs(pixels[0].astype(float) - over_white(picture)).max() <= 1
    assert (pixels[0, 0, 0] == 255).all()


def test_a_photo_is_rotated_by_its_exif_data():
    picture = smooth(64, 32)
    exif = picture.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95, exif=exif)
    (given,) = decoded(image(), out.getvalue())
    (expected,) = decoded(
        image(), encoded(picture.transpose(PIL.Image.Transpose.ROTATE_270), "PNG")
    )
    assert np.abs(given - expected).mean() < 3
    (stored,) = decoded(image(), encoded(picture, "PNG"))
    assert np.abs(given - stored).mean() > 10  # the check above can fail


def test_the_first_frame_of_a_moving_gif_is_the_photo():
    out = io.BytesIO()
    frames = [PIL.Image.new("L", (32, 32), grey) for grey in (50, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(image(), out.getvalue()) == 50).all()


def test_missing_and_broken_files_are_absent(tmp_path: pathlib.Path, caplog):
    whole = encoded(smooth(32, 32), "PNG")
    (tmp_path / "whole.png").write_bytes(whole)
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    column = pd.Series(["whole.png", "cut.png", "text.png", "gone.png", "", None])
    with caplog.at_level(logging.WARNING):
        pixels, present = image().arrays(column, MediaStore(tmp_path))
    assert present.tolist() == [True] + [False] * 5
    assert (pixels.shape, pixels.dtype) == ((6, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(pixels[0], np.asarray(smooth(32, 32)))
    assert not pixels[1:].any()
    assert "photo: 3 of 4 files are missing or broken" in caplog.text
    assert not image().arrays(column, None)[1].any()


def test_a_file_named_by_many_rows_is_read_once():
    class Counting:
        reads: list[str] = []

        def read(self, name: str) -> bytes | None:
            self.reads.append(name)
            return None if name == "gone.png" else encoded(PIL.Image.new("L", (32, 32), 9), "PNG")

    store = Counting()
    column = pd.Series(["b.png", "gone.png", "a.png", "b.png", None, "b.png"])
    pixels, present = image().arrays(column, store)  # type: ignore[arg-type]
    assert sorted(store.reads) == ["a.png", "b.png", "gone.png"]
    assert present.tolist() == [True, False, True, True, False, True]
    assert pixels.reshape(6, -1).max(1).tolist() == [9, 0, 9, 9, 0, 9]


def test_photos_with_equal_options_share_a_tower():
    asked = Image(Feature("seen", "image", "query", "seen"), SMALL)
    assert asked.sharing() == image().sharing()
    assert asked.sharing() != image(height=48).sharing()
    assert asked.sharing() != image(group="shelf").sharing()


@pytest.mark.parametrize(
    "options", [{"smallest_part": 0}, {"smallest_part": 1.5}, {"brightness": -0.1}, {"contrast": 2}]
)
def test_changes_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: expected 0.* to 1, got"):
        image(**options)


@pytest.mark.parametrize("network", ["EfficientNetB0", "EfficientNetV2B0"])
def test_networks_by_name_return_features(network):
    tower = image(network=network).encoder(99)
    assert tower.input_shape == (None, 32, 32, 3)
    assert tower.output_shape == (None, 1280)
    assert network in NETWORKS


@pytest.fixture(scope="module")
def tower() -> tf.keras.Model:
    """A small network, shared because building one takes seconds."""
    return image(momentum=0.7, dropout=0.1).encoder(99)


def test_the_scaled_network_returns_features_and_mirrors_in_training_only(tower: tf.keras.Model):
    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, [2, 32, 32, 3]), tf.uint8)
    given = tower(pixels, training=False).numpy()
    assert given.shape == (2, tower.output_shape[1])
    assert np.isfinite(given).all()
    np.testing.assert_array_equal(tower(pixels, training=False), given)
    layers = list(tower._flatten_layers())
    norms = [la for la in layers if isinstance(la, tf.keras.layers.BatchNormalization)]
    assert {n.momentum for n in norms} == {0.7}
    assert tower.trainable_weights
    flips = [la for la in layers if isinstance(la, tf.keras.layers.RandomFlip)]
    assert len(flips) == 1
    for training in (False, True):
        once = [flips[0](tf.cast(pixels, tf.float32), training=training) for _ in range(9)]
        mirrored = [bool((o.numpy() != pixels.numpy()).any()) for o in once]
        assert any(mirrored) == training


def test_a_frozen_tower_without_flips_has_nothing_to_train(tower, tmp_path: pathlib.Path):
    (network,) = [la for la in tower.layers if isinstance(la, tf.keras.Model)]
    network.save_weights(tmp_path / "tower")
    frozen = image(trainable=False, flip=False, weights=str(tmp_path / "tower")).encoder(99)
    assert frozen.trainable_weights == []
    names = [type(la).__name__ for la in frozen._flatten_layers()]
    assert "RandomFlip" not in names


@pytest.mark.parametrize("name", ["tower.weights.h5", "tower"])
def test_a_weights_file_is_loaded(tower: tf.keras.Model, tmp_path: pathlib.Path, name):
    (network,) = [la for la in tower.layers if isinstance(la, tf.keras.Model)]
    network.save_weights(tmp_path / name)
    again = image(weights=str(tmp_path / name)).encoder(99)
    for one, other in zip(again.get_weights(), tower.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["other.weights.h5", "other"])
def test_weights_of_another_network_are_refused(tmp_path: pathlib.Path, name):
    other = tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=[2])])
    other.save_weights(tmp_path / name)
    with pytest.raises(ConfigError, match=r"other.*do not load"):
        image(weights=str(tmp_path / name)).encoder(99)


@pytest.mark.parametrize("name", ["gone.weights.h5", "gone"])
def test_a_missing_weights_file_is_refused(tmp_path: pathlib.Path, name):
    with pytest.raises(ConfigError, match=r"gone.*do not load"):
        image(weights=str(tmp_path / name)).encoder(99)


def test_an_unknown_network_is_refused_with_those_known():
    with pytest.raises(
        ConfigError, match=r"'ResNet51'.*'ResNet50'.*known: EfficientNet, EfficientNetB0, .*V2L"
    ):
        image(network="ResNet51")


@pytest.mark.parametrize("network", ["EfficientNet", "EfficientNetLite0", "ResNet50"])
def test_imagenet_weights_that_keras_lacks_are_refused(network):
    with pytest.raises(ConfigError, match=f"'photo': Keras has no imagenet.*'{network}'.*import"):
        image(network=network, weights="imagenet")


@pytest.fixture
def imagenet(tmp_path: pathlib.Path, monkeypatch) -> pathlib.Path:
    """Where Keras keeps its file of EfficientNetB0: in an empty home folder, without a network."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    module = importlib.import_module(tf.keras.applications.EfficientNetB0.__module__)
    utils = importlib.import_module(tf.keras.utils.get_file.__module__)
    monkeypatch.setattr(utils, "urlretrieve", unreachable)
    folder = tmp_path / ".keras" / "models"
    folder.mkdir(parents=True)
    return folder / f"{module.EfficientNetB0.__name__.lower()}_notop.h5"


def test_unavailable_imagenet_weights_are_refused_with_a_remedy(imagenet: pathlib.Path):
    wanted = (
        r"'photo': weights imagenet of network 'EfficientNetB0' cannot be downloaded \(.*no route"
    )
    with pytest.raises(ConfigError, match=wanted) as raised:
        image(network="EfficientNetB0", weights="imagenet").encoder(99)
    assert f"copy {imagenet.name} from another machine to {imagenet.parent}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_file_of_keras_has_the_same_features_from_cache_and_path(
    imagenet: pathlib.Path, monkeypatch
):
    """For its own weights, which it recognises by their hash, Keras scales pixels once more."""
    module = importlib.import_module(tf.keras.applications.EfficientNetB0.__module__)
    shape = (32, 32, 3)
    tf.keras.utils.set_random_seed(0)
    made = module.EfficientNetB0(include_top=False, weights=None, input_shape=shape, pooling="avg")
    (norm,) = [la for la in made.layers if isinstance(la, tf.keras.layers.Normalization)]
    norm.adapt_variance.assign([0.2, 0.3, 0.4])
    made.save_weights(imagenet)
    plain = image(network="EfficientNetB0", weights=str(imagenet)).encoder(99)
    digest = hashlib.md5(imagenet.read_bytes()).hexdigest()
    monkeypatch.setitem(module.WEIGHTS_HASHES, "b0", ("", digest))
    pixels = np.random.default_rng(0).integers(0, 256, [2, 32, 32, 3]).astype(np.uint8)
    cached = (
        image(network="EfficientNetB0", weights="imagenet")
        .encoder(99)(pixels, training=False)
        .numpy()
    )
    by_path = (
        image(network="EfficientNetB0", weights=str(imagenet))
        .encoder(99)(pixels, training=False)
        .numpy()
    )
    np.testing.assert_allclose(by_path, cached, rtol=1e-4, atol=1e-5 * np.abs(cached).max())
    assert (
        np.abs(plain(pixels, training=False).numpy() - cached).max() > 1e-2 * np.abs(cached).max()
    )


def test_the_folder_of_an_imported_network_names_it(tmp_path: pathlib.Path):
    network = ImportedNetwork("EfficientNetLite0", "symmetric", 1e-5, (9.0,) * 3, (50.0,) * 3)
    (tmp_path / NETWORK_FILE).write_text(json.dumps(dataclasses.asdict(network)))
    made = network.model(32, 32)
    made.save_weights(tmp_path / WEIGHTS_FILE)
    options = {"height": 32, "width": 40, "weights": str(tmp_path), "trainable": False}
    kind = Image(Feature("photo", "image", "item", "photo"), options)
    assert kind.options.network == "EfficientNetLite0"
    before = kind.weights_hash()
    again = network.model(32, 40)
    again.set_weights(made.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, [2, 32, 40, 3]).astype(np.uint8)
    expected = again(pixels.astype(np.float32)).numpy()
    np.testing.assert_allclose(
        kind.encoder(9)(pixels, training=False).numpy(), expected, rtol=1e-3, atol=1e-6
    )
    with pytest.raises(ConfigError, match="network 'ResNet50', but .* holds 'EfficientNetLite0'"):
        Image(Feature("photo", "image", "item", "photo"), {**options, "network": "ResNet50"})
    (tmp_path / NETWORK_FILE).write_text(json.dumps(dataclasses.asdict(network) | {"std": [1] * 3}))
    assert kind.weights_hash() != before
    (tmp_path / NETWORK_FILE).write_text("{")
    with pytest.raises(ConfigError, match="network.json: not readable JSON"):
        Image(Feature("photo", "image", "item", "photo"), options)


def test_too_few_pixels_are_refused():
    with pytest.raises(ConfigError, match="height: expected 32 or more, got 16"):
        image(height=16)


def test_every_efficientnet_of_keras_is_known_by_name():
    family = {n for n in dir(tf.keras.applications) if n.startswith("EfficientNet")}
    assert set(KERAS) == family
    assert all(KERAS[n] is getattr(tf.keras.applications, n) for n in family)
