"""A cache of embeddings on disk: each is computed once for all runs and catalogues.

A folder holds the embeddings of one encoder, in shards of a few thousand rows. A row is found by
the hash of its raw value (a photo's bytes, a text), so a changed catalogue reuses the embeddings of
all values that it still holds. A shard is an `.npy` file named by the hash of its own bytes. It is
written as a whole or not at all, its name reveals damage, and several runs may write at once.
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
_ABANDONED = 86_400.0  # seconds after which no run is still writing a partial shard
logger = logging.getLogger(__name__)


def cache_folder(setting: str | None) -> pathlib.Path | None:
    """The folder for a value of `data.cache`: None for None, in the user's cache for `auto`."""
    if setting is None:
        return None
    if setting != AUTO:
        return pathlib.Path(setting).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "mmrank" / "embeddings"


def value_hash(value: str | bytes) -> bytes:
    """The hash that is the key of a raw value's embedding; `ABSENT` for an empty value."""
    data = value.encode() if isinstance(value, str) else value
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest() if data else ABSENT


def key_of(facts: Mapping[str, Any]) -> str:
    """A name from a hash of everything that an embedding depends on except the raw value."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).hexdigest()


def files_hash(files: Iterable[pathlib.Path], root: pathlib.Path) -> str:
    """A hash of the names below `root` and the contents of some files, in any order."""
    total = hashlib.blake2b(digest_size=_HASH_BYTES)
    for file in sorted(files):
        total.update(f"{file.relative_to(root).as_posix()}\0{_file_hash(file)}\n".encode())
    return total.hexdigest()


class EmbeddingRows:
    """Embeddings [N, D] float32 of N rows, zeros for absent ones, read from shards when indexed.

    It is used like an array that is indexed by rows only: `rows[indices]`, `rows[5:9]`,
    `len(rows)`.

    Args:
      shards: Tables [n, D], in memory or memory-mapped.
      indices: For each of the N rows, its index into the concatenated shards; −1 for absent.
      width: D.

    Example:
      >>> import numpy as np
      >>> shards = [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]
      >>> rows = EmbeddingRows(shards, np.array([1, -1, 0]), width=2)
      >>> rows[:].tolist()
      [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, shards: Sequence[np.ndarray], indices: np.ndarray, width: int):
        self._shards, self._indices = list(shards), indices
        self._ends = np.cumsum([len(s) for s in shards], dtype=np.int64)
        self.shape = (len(indices), width)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, rows: Any) -> np.ndarray:
        indices = self._indices[rows]
        flat = np.atleast_1d(indices).reshape(-1)
        out = np.zeros([len(flat), self.shape[1]], self.dtype)
        shard_of = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(shard_of[flat >= 0]):
            shard = self._shards[number]
            here = (shard_of == number) & (flat >= 0)
            out[here] = shard[flat[here] - (self._ends[number] - len(shard))]
        return out.reshape([*np.shape(indices), self.shape[1]])

    def __array__(self, dtype: Any = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


class EmbeddingCache:
    """The embeddings of one encoder by the hash of the raw value.

    Args:
      folder: Folder of the shards; None keeps them in memory.
      width: D.
      facts: What the embeddings depend on, written next to the shards for people to read.
      shard_rows: Rows of a shard; an interrupted pass loses at most this many.

    Raises:
      OutputError: The folder cannot be written to.

    Example:
      >>> import numpy as np
      >>> cache = EmbeddingCache(None, width=2)
      >>> key = value_hash("red dress")
      >>> cache.add([key], np.array([[0.5, 1.0]]))
      >>> key in cache, cache.rows([key, ABSENT])[:].tolist()
      (True, [[0.5, 1.0], [0.0, 0.0]])
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
        self._indices: dict[bytes, int] = {}
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
        return key in self._indices or key in self._new

    def __len__(self) -> int:
        return len(self._indices) + len(self._new)

    def add(self, keys: Sequence[bytes], embeddings: np.ndarray) -> None:
        """Adds embeddings [n, D]; every full shard is written to disk at once."""
        for key, embedding in zip(keys, embeddings, strict=True):
            self._new[key] = np.asarray(embedding, np.float32)
        while len(self._new) >= self._shard_rows:
            self._write(self._shard_rows)

    def flush(self) -> None:
        """Writes the embeddings that are not yet on disk as a smaller shard."""
        if self._new:
            self._write(len(self._new))

    def rows(self, keys: Sequence[bytes]) -> EmbeddingRows:
        """The embeddings of these hashes, each of which has to be in the cache or ABSENT."""
        self.flush()
        indices = np.array([-1 if k == ABSENT else self._indices[k] for k in keys], np.int64)
        return EmbeddingRows([s["embedding"] for s in self._shards], indices, self.width)

    def _open(self, file: pathlib.Path) -> None:
        """Adds a shard from disk, or removes it if its hash or its dtype is wrong."""
        try:
            sound = _file_hash(file) == file.stem
            shard = np.load(file, mmap_mode="r", allow_pickle=False) if sound else None
        except FileNotFoundError:
            return  # another run found it damaged and removed it
        if shard is None or shard.dtype != self._row:
            logger.warning("%s: damaged; computing its embeddings again", file)
            file.unlink(missing_ok=True)
            return
        self._take(shard)

    def _take(self, shard: np.ndarray) -> None:
        keys = shard["hash"].tobytes()
        for row in range(len(shard)):
            key = keys[row * _HASH_BYTES : (row + 1) * _HASH_BYTES]
            self._indices.setdefault(key, self._stored + row)
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
    """Turns an OSError of the cache folder into an OutputError that names the remedy."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: the embeddings cannot be stored there ({error}); set data.cache to a "
            "folder with free space, or to null to keep them in memory"
        ) from error


@contextlib.contextmanager
def _partial(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new temporary file in the folder, removed at the end unless it was renamed."""
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
