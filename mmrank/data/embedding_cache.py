"""Embeddings kept on disk: each is computed once, whatever run or catalogue asks for it.

A folder holds the embeddings of one encoder, in shards of a few thousand rows. A row is found by
the hash of its raw value (a photo's bytes, a text), so that a changed catalogue reuses all that
it still holds. A shard is an `.npy` file named by the hash of its own bytes: it is written whole
or not at all, a damaged one is told by its name, and runs at work at the same time do no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmrank.outputs import OutputError

AUTO = "auto"
SHARD_ROWS = 2048
ABSENT = b""
_HASH_BYTES = 16
_ABANDONED = 86_400.0  # seconds after which a half-written shard is nobody's any more
logger = logging.getLogger(__name__)


def cache_folder(setting: str | None) -> pathlib.Path | None:
    """The folder that `data.cache` means: None for none, `auto` for the user's cache folder."""
    if setting is None:
        return None
    if setting != AUTO:
        return pathlib.Path(setting).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "mmrank" / "embeddings"


def value_hash(value: str | bytes) -> bytes:
    """The hash by which the embedding of a raw value is found; that of an empty one is empty."""
    data = value.encode() if isinstance(value, str) else value
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest() if data else ABSENT


def key_of(facts: Mapping[str, Any]) -> str:
    """A name made of everything that an embedding depends on, beside the raw value."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).hexdigest()


def files_hash(files: Iterable[pathlib.Path], root: pathlib.Path) -> str:
    """A hash of the names below `root` and the contents of some files, in any order."""
    total = hashlib.blake2b(digest_size=_HASH_BYTES)
    for file in sorted(files):
        total.update(f"{file.relative_to(root).as_posix()}\0{_file_hash(file)}\n".encode())
    return total.hexdigest()


class EmbeddingRows:
    """Embeddings [N, D] float32 of N rows, zeros for absent ones, taken from shards when asked for.

    Used like an array of which only rows are taken: `rows[numbers]`, `rows[5:9]`, `len(rows)`.

    Args:
      shards: Tables [n, D], in memory or memory-mapped.
      places: For each of the N rows, its row in all shards put together; −1 for absent.
      width: D.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, shards: Sequence[np.ndarray], places: np.ndarray, width: int):
        self._shards, self._places = list(shards), places
        self._ends = np.cumsum([len(s) for s in shards], dtype=np.int64)
        self.shape = (len(places), width)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: Any) -> np.ndarray:
        places = self._places[rows]
        flat = np.atleast_1d(places).reshape(-1)
        out = np.zeros([len(flat), self.shape[1]], self.dtype)
        shard_of = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(shard_of[flat >= 0]):
            shard = self._shards[number]
            here = (shard_of == number) & (flat >= 0)
            out[here] = shard[flat[here] - (self._ends[number] - len(shard))]
        return out.reshape([*np.shape(places), self.shape[1]])

    def __array__(self, dtype: Any = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


class EmbeddingCache:
    """The embeddings of one encoder by the hash of the raw value.

    Args:
      folder: Where shards are kept; None keeps them in memory.
      width: D.
      facts: What the embeddings depend on, written beside the shards for people to read.
      shard_rows: Rows of a shard; an interrupted pass loses at most so many.

    Raises:
      OutputError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: pathlib.Path | None,
        width: int,
        facts: Mapping[str, Any] | None = None,
        shard_rows: int = SHARD_ROWS,
    ):
        self.folder, self.width = folder, width
        self._shard_rows = shard_rows
        self._row = np.dtype([("hash", f"V{_HASH_BYTES}"), ("embedding", np.float32, (width,))])
        self._shards: list[np.ndarray] = []
        self._places: dict[bytes, int] = {}
        self._stored = 0
        self._new: dict[bytes, np.ndarray] = {}
        if folder is None:
            return
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _partial(folder) as partial:
                partial.write_text(json.dumps(facts or {}, indent=1, sort_keys=True), "utf-8")
                os.replace(partial, folder / "key.json")
            for file in sorted(folder.glob("*.npy")):
                self._open(file)
            for left in folder.glob("*.partial"):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink(missing_ok=True)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places or key in self._new

    def __len__(self) -> int:
        return len(self._places) + len(self._new)

    def add(self, keys: Sequence[bytes], embeddings: np.ndarray) -> None:
        """Takes up embeddings [n, D]; every full shard goes to disk at once."""
        for key, embedding in zip(keys, embeddings, strict=True):
            self._new[key] = np.asarray(embedding, np.float32)
        while len(self._new) >= self._shard_rows:
            self._write(self._shard_rows)

    def flush(self) -> None:
        """Writes what is left as a smaller shard."""
        if self._new:
            self._write(len(self._new))

    def rows(self, keys: Sequence[bytes]) -> EmbeddingRows:
        """The embeddings of these hashes, all of which are known or ABSENT."""
        self.flush()
        places = np.array([-1 if k == ABSENT else self._places[k] for k in keys], np.int64)
        return EmbeddingRows([s["embedding"] for s in self._shards], places, self.width)

    def _open(self, file: pathlib.Path) -> None:
        """Takes up a shard; one whose bytes do not fit its name is damaged and removed."""
        try:
            sound = _file_hash(file) == file.stem
            shard = np.load(file, mmap_mode="r", allow_pickle=False) if sound else None
        except FileNotFoundError:
            return  # another run found it damaged, too
        if shard is None or shard.dtype != self._row:
            logger.warning("%s: damaged; its embeddings are computed again", file)
            file.unlink(missing_ok=True)
            return
        self._take(shard)

    def _take(self, shard: np.ndarray) -> None:
        keys = shard["hash"].tobytes()
        for row in range(len(shard)):
            key = keys[row * _HASH_BYTES : (row + 1) * _HASH_BYTES]
            self._places.setdefault(key, self._stored + row)
        self._shards.append(shard)
        self._stored += len(shard)

    def _write(self, count: int) -> None:
        keys = list(self._new)[:count]
        shard = np.zeros(count, self._row)
        shard["hash"] = np.frombuffer(b"".join(keys), f"V{_HASH_BYTES}")
        shard["embedding"] = np.stack([self._new[k] for k in keys])
        if self.folder is not None:
            shard = self._on_disk(self.folder, shard)
        self._take(shard)
        for key in keys:
            del self._new[key]

    def _on_disk(self, folder: pathlib.Path, shard: np.ndarray) -> np.ndarray:
        with _explained(folder):
            with _partial(folder) as partial:
                with partial.open("wb") as out:
                    np.save(out, shard, allow_pickle=False)
                file = folder / f"{_file_hash(partial)}.npy"
                os.replace(partial, file)
            return np.load(file, mmap_mode="r", allow_pickle=False)


@contextlib.contextmanager
def _explained(folder: pathlib.Path) -> Iterator[None]:
    """Turns an OSError of the cache folder into one line with the remedy."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: the embeddings cannot be kept there ({error}); set data.cache to a folder "
            "with room, or to null to keep them in memory"
        ) from error


@contextlib.contextmanager
def _partial(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new file in the folder, of this run alone, gone at the end unless it was renamed."""
    handle, name = tempfile.mkstemp(suffix=".partial", dir=folder)
    os.close(handle)
    try:
        yield pathlib.Path(name)
    finally:
        pathlib.Path(name).unlink(missing_ok=True)


def _file_hash(file: pathlib.Path) -> str:
    total = hashlib.blake2b(digest_size=_HASH_BYTES)
    with file.open("rb") as data:
        while block := data.read(2**20):
            total.update(block)
    return total.hexdigest()
