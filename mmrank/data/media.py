"""Media files of a dataset, read by name from a folder or directly from a zip archive."""

from __future__ import annotations

import io
import pathlib
import struct
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image

from mmrank.data.findings import DataError
from mmrank.data.image_bounds import MAX_PIXELS, image_problem

if TYPE_CHECKING:
    from mmrank.data.tables import Dataset

MAX_BYTES = 64 * 2**20
# The formats that `tf.io.decode_image` reads. Pillow's other decoders are not used, so that their
# bugs do no harm. A JPEG followed by more pictures, as phones write it (MPO), is opened as a JPEG.
OPENED = ("JPEG", "PNG", "GIF", "BMP")

# The exceptions that Pillow's plugins raise for damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


class MediaStore:
    """The media files under one folder or in one zip archive, read by relative name.

    A name that leads out of the folder counts as missing, and so does a file over `max_bytes`.
    Several threads may use a store at once.

    Args:
      root: The folder, or the archive.
      max_bytes: Size of the largest file that is read, in bytes.

    Raises:
      DataError: `root` is neither a folder nor a readable zip archive.

    Example:
      >>> import pathlib
      >>> pathlib.Path("photos").mkdir()
      >>> _ = pathlib.Path("photos", "1.jpg").write_bytes(b"a photo")
      >>> store = MediaStore("photos")
      >>> store.read("1.jpg"), store.read("2.jpg"), store.read("../secret")
      (b'a photo', None, None)
    """

    def __init__(self, root: str | pathlib.Path, max_bytes: int = MAX_BYTES):
        self.root = pathlib.Path(root)
        self.max_bytes = max_bytes
        self._archive: zipfile.ZipFile | None = None
        self._lock = threading.Lock()
        if self.root.is_dir():
            self._folder = self.root.resolve()
            return
        try:
            self._archive = zipfile.ZipFile(self.root)
        except FileNotFoundError:
            raise DataError(
                f"{self.root}: no such folder or archive; put the media files there or fix "
                "`media` in the schema"
            ) from None
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{self.root}: neither a folder nor a readable zip archive ({error}); create the "
                "archive again or give the folder of the files as `media` in the schema"
            ) from error

    def read(self, name: str) -> bytes | None:
        """The bytes of the file with this name; None if it is missing or cannot be read."""
        if self.problem(name) is not None:
            return None
        if self._archive is None:
            try:
                return (self._folder / name).read_bytes()
            except OSError:
                return None
        try:
            with self._lock:  # all threads share one file handle
                return self._archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError):
            return None  # damaged, of an unknown compression, or encrypted

    def problem(self, name: str) -> str | None:
        """Why a name will not be read, found without reading the file; None if it will be."""
        path = pathlib.PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or pathlib.PureWindowsPath(name).drive:
            return "is outside the media folder"
        try:
            size = self._size(name)
        except (KeyError, OSError, ValueError, RuntimeError):  # RuntimeError: a circle of links
            return "no such file"
        if size is None:
            return "is outside the media folder"
        if size > self.max_bytes:
            return f"larger than {self.max_bytes / 2**20:.0f} MiB"
        return None

    def names(self) -> Iterator[str]:
        """The names of all files, in no particular order."""
        if self._archive is not None:
            yield from (i.filename for i in self._archive.infolist() if not i.is_dir())
            return
        for path in self._folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self._folder).as_posix()

    def close(self) -> None:
        """Closes the archive, if the store has one."""
        if self._archive is not None:
            self._archive.close()

    def _size(self, name: str) -> int | None:
        """The size in bytes; None for a link that leads out of the folder.

        Raises:
          KeyError, OSError, ValueError: The file does not exist.
        """
        if self._archive is not None:
            info = self._archive.getinfo(name)
            if info.is_dir():
                raise KeyError(name)
            return info.file_size
        path = (self._folder / name).resolve(strict=True)
        if not path.is_relative_to(self._folder):
            return None
        if not path.is_file():
            raise FileNotFoundError(name)
        return path.stat().st_size


def open_media(dataset: Dataset) -> MediaStore:
    """The media of a dataset: from the `media` of its schema, by default from the dataset's folder.

    Raises:
      DataError: The schema names something that is neither a folder nor a zip archive.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=10, users=1)
      >>> media = open_media(load_dataset("shop"))
      >>> media.root.name, media.read("no such photo") is None
      ('images.zip', True)
      >>> media.close()
    """
    return MediaStore(dataset.folder / (dataset.schema.media or "."))


def probe_image(data: bytes, max_pixels: int = MAX_PIXELS) -> str | None:
    """None for a complete image that `tf.io.decode_image` reads, else the fault in a few words.

    Args:
      data: The file's bytes.
      max_pixels: Bound on width times height; a decoded pixel takes three bytes of memory.
    """
    if not data:
        return "empty file"
    costly = image_problem(data, max_pixels)
    if costly is not None:
        return costly
    try:
        with warnings.catch_warnings():
            # Pillow's warning of decompression bombs is not needed: the bound below is stricter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=OPENED)
    except Image.UnidentifiedImageError:
        other = _other_format(data)
        return "not an image" if other is None else f"format {other}; convert to JPEG or PNG"
    except Image.DecompressionBombError:
        return f"too large: more than {max_pixels / 1e6:.0f} megapixels"
    except _DAMAGED as error:
        return _damage(error)
    pixels = image.width * image.height
    if pixels > max_pixels:
        return f"too large: {pixels / 1e6:.0f} megapixels"
    kind, mode = str(image.format), image.mode
    try:
        image.verify()  # the checksums of PNG; leaves the image unusable
        Image.open(io.BytesIO(data), formats=OPENED).load()
    except _DAMAGED as error:
        return _damage(error)
    return _beyond_pillow(data, kind, mode)


def as_shown(data: bytes) -> bytes:
    """The bytes of an image file for a graph: a GIF with transparency is converted to PNG.

    The GIF decoder gives transparent pixels some colour and does not report which they are. Other
    files stay unchanged, including broken ones, which `probe_image` refuses.

    Args:
      data: The file's bytes.
    """
    if not data.startswith(b"GIF8") or image_problem(data, MAX_PIXELS) is not None:
        return data
    try:
        with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
            if "transparency" not in image.info:
                return data
            made = io.BytesIO()
            image.convert("RGBA").save(made, "PNG")
            return made.getvalue()
    except (Image.UnidentifiedImageError, Image.DecompressionBombError, *_DAMAGED):
        return data


def _other_format(data: bytes) -> str | None:
    """The name of a common image format that is not supported, found without a decoder."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    return "HEIF or AVIF" if data[4:8] == b"ftyp" else None


def _damage(error: Exception) -> str:
    text = str(error)
    ends_early = isinstance(error, EOFError) or any(
        word in text.lower() for word in ("truncated", "incomplete", "chunk b''")
    )
    return "truncated" if ends_early else f"damaged: {text}"


def _beyond_pillow(data: bytes, kind: str, mode: str) -> str | None:
    """A fault that Pillow accepts, but that `tf.io.decode_image` refuses or decodes wrongly."""
    if kind == "PNG" and b"IEND\xaeB`\x82" not in data:
        return "truncated"
    if kind == "GIF" and not data.rstrip(b"\0").endswith(b";"):
        return "truncated"
    if kind == "BMP":
        # The BMP decoder supports 8-bit grey, 24 and 32 bits, all without compression. It would
        # decode the indices of a palette as greys.
        bits, compression = struct.unpack_from("<HI", data, 28)
        if mode not in ("L", "RGB", "RGBA") or bits not in (8, 24, 32) or compression != 0:
            return f"BMP with {bits} bits per pixel; convert to JPEG or PNG"
        start, _, width, height = struct.unpack_from("<IIii", data, 10)
        if len(data) != start + (bits * width + 31) // 32 * 4 * abs(height):
            return "truncated"
    return None
