"""Folders of shards: what stands in which, and the manifest without which none is read.

A record goes to a shard by a hash of its key, and a shard is a range of hashes. Sorted by hash and
key inside, shards one behind the other are the same records in the same order, however many.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mmrank.data.tables import DataError

MANIFEST = "manifest.json"
FORMAT = 1
PARTIAL = ".partial"
_HALF = np.uint64(32)
_BLOCK = 2**20


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records: its name, how many records and bytes it holds, and its SHA-256."""

    file: str
    records: int
    bytes: int
    sha256: str


def key_hashes(keys: Iterable[str]) -> np.ndarray:
    """The first 8 bytes of SHA-256 of some keys as numbers, [keys] uint64."""
    digests = b"".join(hashlib.sha256(key.encode("utf-8")).digest()[:8] for key in keys)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def shard_numbers(hashes: np.ndarray, shards: int) -> np.ndarray:
    """The shard of every hash, [hashes] int64 from 0: equal ranges, below 2³² of them."""
    return ((hashes >> _HALF) * np.uint64(shards) >> _HALF).astype(np.int64)


def shard_file(part: str, index: int, shards: int, ending: str) -> str:
    """A shard's name, such as `train-00002-of-00008.tfrecord`."""
    return f"{part}-{index:05d}-of-{shards:05d}.{ending}"


def whole_shard(folder: pathlib.Path, name: str, write: Callable[[pathlib.Path], int]) -> Shard:
    """The shard of a file written whole or not at all, and on the disk before it has its name.

    Several workers may write one at a time, as a cluster does that tries a slow one twice.

    Args:
      folder: Where it is to stand.
      name: The file's name.
      write: Writes the file of the path given and returns the number of its records.
    """
    partial = folder / f".{uuid.uuid4().hex}{PARTIAL}"
    try:
        records = write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        shard = Shard(name, records, partial.stat().st_size, file_hash(partial))
        os.replace(partial, folder / name)
    finally:
        partial.unlink(missing_ok=True)
    return shard


def file_hash(file: pathlib.Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: pathlib.Path, job: str, content: Mapping[str, Any]) -> None:
    """Writes what makes a folder a finished one: `job`, then `content`, whole or not at all.

    Args:
      folder: The folder with the shards.
      job: What they are, `examples` or `embeddings`.
      content: JSON, a `Shard` in it as a mapping of its fields.
    """
    text = json.dumps({"format": FORMAT, "job": job, **content}, indent=2, ensure_ascii=False)
    whole_shard(folder, MANIFEST, lambda file: file.write_text(f"{text}\n", encoding="utf-8"))


def read_manifest(folder: pathlib.Path, job: str, remedy: str) -> dict[str, Any]:
    """What `write_manifest` wrote.

    Args:
      folder: The folder with the shards.
      job: What they have to be.
      remedy: What to do about a folder that is not finished, to end the message with.

    Raises:
      DataError: There is no such folder, it is not finished, or holds something else.
    """
    file = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {remedy}")
    if not file.is_file():
        raise DataError(f"{folder}: no {MANIFEST}, so it is not finished; {remedy}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}; {remedy}") from error
    if not isinstance(manifest, dict) or manifest.get("job") != job:
        raise DataError(f"{file}: not a manifest of {job}; {remedy}")
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{file}: in format {manifest.get('format')}, while this mmrank reads {FORMAT}; "
            f"{remedy}"
        )
    return manifest


def checked(folder: pathlib.Path, shards: Iterable[Mapping[str, Any]]) -> Iterator[Shard]:
    """The shards of a manifest, each once its file's bytes are what the manifest says.

    Raises:
      DataError: A shard is missing, cut short or altered.
    """
    for plain in shards:
        shard = Shard(**plain)
        file = folder / shard.file
        if not file.is_file():
            raise DataError(f"{file}: no such file, which {MANIFEST} names; write the folder anew")
        if file_hash(file) != shard.sha256:
            raise DataError(
                f"{file}: not the bytes that {MANIFEST} tells of; write the folder anew"
            )
        yield shard
