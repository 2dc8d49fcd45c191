"""Media files of a dataset, read by name from a folder or straight from a zip archive."""

from __future__ import annotations

import io
import pathlib
import struct
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

from mmrank.data.image_bounds import MAX_PIXELS, image_problem
from mmrank.data.tables import DataError, Dataset

MAX_BYTES = 64 * 2**20
# What `tf.io.decode_image` reads; no other decoder is asked, whose mistakes need not be ours. A
# JPEG with more pictures behind it, as phones write it (MPO), is opened as a JPEG.
OPENED = ("JPEG", "PNG", "GIF", "BMP")

# What Pillow's plugins raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


class MediaStore:
    """The media files under one folder or in one zip archive, read by relative name.

    A name that leads out of the folder counts as missing, as does a file over `max_bytes`. May be
    used by several threads at once.

    Args:
      root: The folder, or the archive.
      max_bytes: Largest file that is read, in bytes.

    Raises:
      DataError: `root` is neither a folder nor a readable zip archive.
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
                f"{self.root}: no such folder or archive; put the media files there or mend "
                "`media` in the schema"
            ) from None
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{self.root}: neither a folder nor a readable zip archive ({error}); pack the "
                "media files anew or name their folder as `media` in the schema"
            ) from error

    def read(self, name: str) -> bytes | None:
        """The bytes of the file of that name; None if it is missing or cannot be read."""
        if self.problem(name) is not None:
            return None
        if self._archive is None:
            try:
                return (self._folder / name).read_bytes()
            except OSError:
                return None
        try:
            with self._lock:  # one file handle serves all threads
                return self._archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError):
            return None  # damaged, of an unknown compression, or encrypted

    def problem(self, name: str) -> str | None:
        """Why a name is not read, judged without reading the file; None if it will be."""
        path = pathlib.PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or pathlib.PureWindowsPath(name).drive:
            return "leads out of the media folder"
        try:
            size = self._size(name)
        except (KeyError, OSError, ValueError):
            return "no such file"
        if size is None:
            return "leads out of the media folder"
        if size > self.max_bytes:
            return f"larger than {self.max_bytes / 2**20:.0f} MiB"
        return None

    def names(self) -> Iterator[str]:
        """The names of all files, in no order."""
        if self._archive is not None:
            yield from (i.filename for i in self._archive.infolist() if not i.is_dir())
            return
        for path in self._folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self._folder).as_posix()

    def close(self) -> None:
        """Closes the archive, if there is one."""
        if self._archive is not None:
            self._archive.close()

    def _size(self, name: str) -> int | None:
        """The size in bytes; None for a link that leads out.

        Raises:
          KeyError, OSError, ValueError: There is no such file.
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
    """The media of a dataset: what its schema names as `media`, or else the dataset's own folder.

    Raises:
      DataError: The schema names something that is neither a folder nor a zip archive.
    """
    return MediaStore(dataset.folder / (dataset.schema.media or "."))


def probe_image(data: bytes, max_pixels: int = MAX_PIXELS) -> str | None:
    """None for a whole image that `tf.io.decode_image` reads, else the reason in a few words.

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
            # Pillow warns of what it takes for a bomb; the bound below is the stricter one.
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
    """An image file as graphs read it: a GIF that is transparent somewhere as a PNG.

    The decoder of GIF gives transparent pixels some colour and does not tell which they are. Other
    files stay as they are, also broken ones, for `probe_image` to refuse.

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
    """The name of a format that people send and nothing here reads: no decoder looks at it."""
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
    """What Pillow lets pass and `tf.io.decode_image` refuses, or reads wrongly."""
    if kind == "PNG" and b"IEND\xaeB`\x82" not in data:
        return "truncated"
    if kind == "GIF" and not data.rstrip(b"\0").endswith(b";"):
        return "truncated"
    if kind == "BMP":
        # Its decoder knows 8-bit grey, 24 and 32 bits without compression, and takes a palette's
        # indices for greys.
        bits, compression = struct.unpack_from("<HI", data, 28)
        if mode not in ("L", "RGB", "RGBA") or bits not in (8, 24, 32) or compression != 0:
            return f"BMP with {bits} bits a pixel; convert to JPEG or PNG"
        start, _, width, height = struct.unpack_from("<IIii", data, 10)
        if len(data) != start + (bits * width + 31) // 32 * 4 * abs(height):
            return "truncated"
    return None
