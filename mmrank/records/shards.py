"""TFRecord shards of lists: finding them, indexing what each holds, and reading a part of one."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext
from tqdm import tqdm

from mmrank.data.shards import MANIFEST, read_manifest
from mmrank.data.tables import DataError
from mmrank.outputs import write_whole

INDEX_FILE = "records.json"


@dataclasses.dataclass(frozen=True)
class Window:
    """Consecutive lists of one shard, which are read and shuffled together.

    Attributes:
      shard: Index of the shard.
      first: Index in the shard of the window's first list.
      lists: Number of lists.
      batches: Number of batches that the lists make.
      candidates: Candidates of all lists, after the cut.
      longest: Candidates of the longest list, after the cut.
    """

    shard: int
    first: int
    lists: int
    batches: int
    candidates: int
    longest: int


def find_shards(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """The shards of a split, in the order of the folder's manifest.

    Raises:
      DataError: The folder is not finished, has no list of the split, or a shard is missing or of
        another size.
    """
    remedy = "make it with `python -m pipelines.build_examples`, or correct data.records"
    splits = read_manifest(folder, "examples", remedy)["splits"]
    if not splits.get(split, {}).get("shards"):
        raise DataError(f"{folder}: no {split} list; {remedy}")
    files = []
    for shard in splits[split]["shards"]:
        file = folder / shard["file"]
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise DataError(
                f"{file}: missing, or its size is not {shard['bytes']} bytes as in "
                f"{MANIFEST}; {remedy}"
            )
        files.append(file)
    return files


def messages(file: pathlib.Path, first: int = 0, count: int = -1) -> Iterator[bytes]:
    """The serialized lists of a shard.

    Args:
      file: The shard.
      first: Number of lists to skip.
      count: Number of lists to read after these; −1 for all.

    Raises:
      DataError: The file is damaged or is not a TFRecord file.
    """
    gzip = "GZIP" if file.suffix == ".gz" else ""
    records = tf.data.TFRecordDataset(str(file), compression_type=gzip).skip(first).take(count)
    at = first
    try:
        for message in records.as_numpy_iterator():
            yield message
            at += 1
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        raise DataError(
            f"{file}: damaged after record {at}: {error.message}; write it again"
        ) from error


def lengths_of(file: pathlib.Path, keep: Callable[[int, bytes], Any] | None = None) -> np.ndarray:
    """The number of candidates of each list of a shard, int64 [lists].

    Args:
      file: The shard.
      keep: Called with the index of each list and its message.

    Raises:
      DataError: The file cannot be read, or a record is not an ExampleListWithContext or is empty.
    """
    found = []
    for number, message in enumerate(messages(file)):
        try:
            length = len(ExampleListWithContext.FromString(message).examples)
        except DecodeError as error:
            raise DataError(f"{file}: record {number} is not an ExampleListWithContext") from error
        if not length:
            raise DataError(f"{file}: record {number} has no example; drop the list")
        found.append(length)
        if keep is not None:
            keep(number, message)
    return np.array(found, np.int64)


def index_shards(
    files: Sequence[pathlib.Path], window: int, describe: Callable[[np.ndarray], dict[str, int]]
) -> list[Window]:
    """The windows of all shards in order, after reading each shard once.

    Args:
      files: The shards.
      window: Maximum number of lists of a window.
      describe: Turns the numbers of candidates of a window's lists into `batches`, `candidates`
        and `longest`.

    Raises:
      DataError: `lengths_of` raises, or the shards hold no list.
    """
    windows = []
    for number, file in enumerate(tqdm(files, desc="counting lists", unit=" shards", disable=None)):
        lengths = lengths_of(file)
        for first in range(0, len(lengths), window):
            part = lengths[first : first + window]
            windows.append(Window(number, first, len(part), **describe(part)))
    if not windows:
        raise DataError(f"{files[0].parent}: the shards hold no list")
    return windows


def save_index(run: pathlib.Path, files: Sequence[pathlib.Path], windows: Sequence[Window]) -> None:
    """Writes into a run's folder the names and sizes of its shards, and their windows."""
    plain = {
        "shards": [[f.name, f.stat().st_size] for f in files],
        "windows": [list(dataclasses.astuple(w)) for w in windows],
    }
    write_whole(run / INDEX_FILE, json.dumps(plain))


def load_index(run: pathlib.Path, files: Sequence[pathlib.Path]) -> list[Window]:
    """The windows that `save_index` wrote.

    Raises:
      DataError: The names or sizes of the shards have changed.
    """
    plain = json.loads((run / INDEX_FILE).read_text(encoding="utf-8"))
    if plain["shards"] != [[f.name, f.stat().st_size] for f in files]:
        raise DataError(
            f"{files[0].parent}: names or sizes of the shards are not those with which the run in "
            f"{run} began; restore them, or start a new run"
        )
    return [Window(*values) for values in plain["windows"]]
