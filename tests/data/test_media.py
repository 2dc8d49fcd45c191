"""Media files: which are read, which are refused, and which images TensorFlow can decode."""

from __future__ import annotations

import concurrent.futures
import io
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from mmrank.data.media import MediaStore, open_media, probe_image
from mmrank.data.tables import DataError, Dataset
from mmrank.schema import schema_from_dict


def encoded(format: str, mode: str = "RGB", size: tuple[int, int] = (12, 9)) -> bytes:
    """An image file of noise, which no codec compresses to almost nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, format)
    return file.getvalue()


@pytest.fixture(params=["folder", "archive"])
def root(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """Two files in a folder or an archive, next to one that must not be read."""
    (tmp_path / "secret").write_bytes(b"secret")
    files = {"a.jpg": b"aa", "deep/b.jpg": b"bbb"}
    if request.param == "archive":
        with zipfile.ZipFile(tmp_path / "media.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            archive.writestr("../secret", b"from inside")
        return tmp_path / "media.zip"
    for name, data in files.items():
        path = tmp_path / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "media"


def test_reads_by_relative_name(root: pathlib.Path) -> None:
    store = MediaStore(root)
    assert store.read("a.jpg") == b"aa"
    assert store.read("deep/b.jpg") == b"bbb"
    assert {"a.jpg", "deep/b.jpg"} <= set(store.names())
    store.close()


@pytest.mark.parametrize("name", ["none.jpg", "deep", "", "A.JPG.", "a\0b", "x" * 5000])
def test_a_missing_file_is_none(root: pathlib.Path, name: str) -> None:
    store = MediaStore(root)
    assert store.read(name) is None
    assert store.problem(name) == "no such file"


@pytest.mark.parametrize(
    "name", ["../secret", "deep/../../secret", "/etc/hostname", "..\\secret", "C:\\secret"]
)
def test_names_outside_the_folder_are_refused(root: pathlib.Path, name: str) -> None:
    store = MediaStore(root)
    assert store.read(name) is None
    assert store.problem(name) == "is outside the media folder"


def test_a_link_outside_the_folder_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "link.jpg").symlink_to(tmp_path / "secret")
    assert MediaStore(tmp_path / "media").read("link.jpg") is None


def test_the_size_is_bounded(root: pathlib.Path) -> None:
    store = MediaStore(root, max_bytes=2)
    assert store.read("a.jpg") == b"aa"
    assert store.read("deep/b.jpg") is None
    assert store.problem("deep/b.jpg") == "larger than 0 MiB"


def test_a_damaged_member_is_none(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("a", b"payload of a")
        archive.writestr("b", b"payload of b")
    data = bytearray((tmp_path / "m.zip").read_bytes())
    at = data.index(b"payload of a")
    data[at] ^= 1
    (tmp_path / "m.zip").write_bytes(data)
    store = MediaStore(tmp_path / "m.zip")
    assert store.read("a") is None
    assert store.read("b") == b"payload of b"


def test_threads_share_an_archive(tmp_path: pathlib.Path) -> None:
    contents = {f"{i}.bin": bytes([i]) * 20_000 for i in range(40)}
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    store = MediaStore(tmp_path / "m.zip")
    names = list(contents) * 5
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.read, names)) == [contents[n] for n in names]


def test_a_missing_root_or_one_that_is_not_an_archive(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="no such folder or archive"):
        MediaStore(tmp_path / "none")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(DataError, match="neither a folder nor a readable zip archive"):
        MediaStore(tmp_path / "text.zip")


def test_open_media_follows_the_schema(root: pathlib.Path) -> None:
    plain = {"features": [{"name": "title", "kind": "text", "side": "item"}]}
    schema = schema_from_dict(plain | {"media": root.name})
    dataset = Dataset(root.parent, schema, None, None, None)  # type: ignore[arg-type]
    assert open_media(dataset).read("a.jpg") == b"aa"
    own = Dataset(root.parent, schema_from_dict(plain), None, None, None)  # type: ignore[arg-type]
    assert open_media(own).read("secret") == b"secret"


GOOD = [
    encoded("JPEG"),
    encoded("JPEG", "L"),
    encoded("JPEG", "CMYK"),
    encoded("PNG"),
    encoded("PNG", "LA"),
    encoded("PNG", "RGBA"),
    encoded("PNG", "P"),
    encoded("PNG", "1"),
    encoded("GIF", "P"),
    encoded("BMP"),
    encoded("BMP", "L"),
]


@pytest.mark.parametrize("data", GOOD)
def test_a_whole_image_passes(data: bytes) -> None:
    assert probe_image(data) is None


def test_tensorflow_reads_every_image_that_passes() -> None:
    """These include files cut off near their end, where decoders differ most."""
    import tensorflow as tf

    cut = [data[:-n] for data in GOOD for n in (1, 2, 3, 4, 8, 12, 40)]
    odd = [encoded("BMP", "1"), encoded("BMP", "P"), encoded("WEBP"), encoded("TIFF")]
    passed = [data for data in GOOD + cut + odd if probe_image(data) is None]
    assert len(passed) >= len(GOOD)
    for data in passed:
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
        assert pixels.shape == (9, 12, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.95])
def test_a_truncated_image_is_found(format: str, kept: float) -> None:
    data = encoded(format, "P" if format == "GIF" else "RGB", (40, 30))
    assert probe_image(data[: int(len(data) * kept)]) == "truncated"


def test_damage_inside_a_png_is_found() -> None:
    data = bytearray(encoded("PNG", size=(40, 30)))
    data[len(data) // 2] ^= 0xFF
    reason = probe_image(bytes(data))
    assert reason is not None
    assert reason.startswith("damaged")


def test_unusable_images_have_a_reason() -> None:
    assert probe_image(b"") == "empty file"
    assert probe_image(b"<html>404</html>") == "not an image"
    assert probe_image(encoded("WEBP")) == "format WEBP; convert to JPEG or PNG"
    assert probe_image(encoded("TIFF")) == "format TIFF; convert to JPEG or PNG"
    assert probe_image(encoded("PPM")) == "not an image"  # no other decoder is tried
    assert probe_image(encoded("BMP", "1")) == "BMP with 1 bits per pixel; convert to JPEG or PNG"


def test_too_many_pixels() -> None:
    assert probe_image(encoded("PNG", size=(30, 40)), max_pixels=1200) is None
    file = io.BytesIO()
    Image.new("1", (12_000, 10_000)).save(file, "PNG")  # 120 million pixels in a few kilobytes
    assert probe_image(file.getvalue()) == "too large: 120 megapixels"
    bomb = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(bomb, "PNG")
    assert probe_image(bomb.getvalue()) == "too large: 200 megapixels"


def test_circular_links_are_not_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    store = MediaStore(tmp_path)
    assert store.problem("a.jpg") == "no such file"
    assert store.read("a.jpg") is None
