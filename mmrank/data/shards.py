"""Folders of shards: which record is in which shard, and the manifest of a finished folder.

A hash of a record's key selects its shard, and a shard is a range of hashes. Records in a shard are
sorted by hash and key. So the concatenated shards hold the same records in the same order for any
number of shards. A folder without a manifest is not read.
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
    """One file of records: its name, its numbers of records and bytes, and its SHA-256."""

    file: str
    records: int
    bytes: int
    sha256: str


def key_hashes(keys: Iterable[str]) -> np.ndarray:
    """The first 8 bytes of SHA-256 of some keys as numbers, [keys] uint64."""
    digests = b"".join(hashlib.sha256(key.encode("utf-8")).digest()[:8] for key in keys)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def shard_numbers(hashes: np.ndarray, shards: int) -> np.ndarray:
    """The shard of every hash, [hashes] int64 from 0, for fewer than 2³² shards of equal ranges.

    Example:
      >>> import numpy as np
      >>> shard_numbers(np.array([0, 2**62, 2**63, 2**64 - 1], np.uint64), shards=4).tolist()
      [0, 1, 2, 3]
    """
    return ((hashes >> _HALF) * np.uint64(shards) >> _HALF).astype(np.int64)


def shard_file(part: str, index: int, shards: int, ending: str) -> str:
    """A shard's name, such as `train-00002-of-00008.tfrecord`.

    Example:
      >>> shard_file("train", 2, 8, "tfrecord")
      'train-00002-of-00008.tfrecord'
    """
    return f"{part}-{index:05d}-of-{shards:05d}.{ending}"


def whole_shard(folder: pathlib.Path, name: str, write: Callable[[pathlib.Path], int]) -> Shard:
    """Writes a file as a whole or not at all, and returns its `Shard`.

    The file is on the disk before it gets its name. Several workers may write the same file at
    once, as in a cluster that runs a slow task twice.

    Args:
      folder: The folder of the file.
      name: The file's name.
      write: Writes a file to the given path and returns the number of its records.
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
    """Writes the manifest that marks a folder as finished, as a whole or not at all.

    Args:
      folder: The folder with the shards.
      job: What the shards hold, `examples` or `embeddings`.
      content: More entries of the manifest, as JSON values; a `Shard` is a mapping of its fields.
    """
    text = json.dumps({"format": FORMAT, "job": job, **content}, indent=2, ensure_ascii=False)
    whole_shard(folder, MANIFEST, lambda file: file.write_text(f"{text}\n", encoding="utf-8"))


def read_manifest(folder: pathlib.Path, job: str, remedy: str) -> dict[str, Any]:
    """The manifest that `write_manifest` wrote.

    Args:
      folder: The folder with the shards.
      job: What the shards have to hold, `examples` or `embeddings`.
      remedy: What to do about a folder that cannot be used, as the end of the message.

    Raises:
      DataError: The folder does not exist, is not finished, or holds something else.
    """
    file = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {remedy}")
    if not file.is_file():
        raise DataError(f"{folder}: has no {MANIFEST}, so it is not finished; {remedy}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}; {remedy}") from error
    if not isinstance(manifest, dict) or manifest.get("job") != job:
        raise DataError(f"{file}: is not a manifest of {job}; {remedy}")
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{file}: in format {manifest.get('format')}, while this mmrank reads {FORMAT}; "
            f"{remedy}"
        )
    return manifest


def checked(folder: pathlib.Path, shards: Iterable[Mapping[str, Any]]) -> Iterator[Shard]:
    """The shards of a manifest, each after a check that its file has the hash in the manifest.

    Raises:
      DataError: A shard is missing, truncated or altered.
    """
    for plain in shards:
        shard = Shard(**plain)
        file = folder / shard.file
        if not file.is_file():
            raise DataError(f"{file}: no such file, but in {MANIFEST}; write the folder again")
        if file_hash(file) != shard.sha256:
            raise DataError(f"{file}: differs from its hash in {MANIFEST}; write the folder again")
        yield shard
