"""TFRecord shards of lists: finding them, knowing what each holds, and reading a part of one."""

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
    """Neighbouring lists of one shard, read and shuffled together.

    Attributes:
      shard: Number of the shard.
      first: Lists of the shard before it.
      lists: How many it holds.
      batches: How many batches they make.
      candidates: Candidates of all its lists, and `longest` of the longest one, after the cut.
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
      DataError: The folder is not finished, or one of its shards is missing or of another size.
    """
    remedy = "make it with `python -m pipelines.build_examples`, or mend data.records"
    told = read_manifest(folder, "examples", remedy)["splits"]
    if not told.get(split, {}).get("shards"):
        raise DataError(f"{folder}: no {split} list; {remedy}")
    files = []
    for shard in told[split]["shards"]:
        file = folder / shard["file"]
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise DataError(
                f"{file}: missing, or not of {shard['bytes']} bytes as {MANIFEST} says; {remedy}"
            )
        files.append(file)
    return files


def messages(file: pathlib.Path, first: int = 0, count: int = -1) -> Iterator[bytes]:
    """The serialized lists of a shard.

    Args:
      file: The shard.
      first: Lists to pass over.
      count: Lists wanted after these; −1 for all.

    Raises:
      DataError: The file is damaged or no TFRecord.
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
            f"{file}: damaged after record {at}: {error.message}; write it anew"
        ) from error


def lengths_of(file: pathlib.Path, keep: Callable[[int, bytes], Any] | None = None) -> np.ndarray:
    """How many candidates each list of a shard has, int64 [lists].

    Args:
      file: The shard.
      keep: Called with the number of each list and its message.

    Raises:
      DataError: The file cannot be read, a record is no ExampleListWithContext, or is empty.
    """
    found = []
    for number, message in enumerate(messages(file)):
        try:
            length = len(ExampleListWithContext.FromString(message).examples)
        except DecodeError as error:
            raise DataError(f"{file}: record {number} is no ExampleListWithContext") from error
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
      window: Most lists of a window.
      describe: From candidates of each list to `batches`, `candidates` and `longest`.

    Raises:
      DataError: As `lengths_of`, or a shard without lists.
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
    """Keeps in a run's folder what its shards were found to hold."""
    plain = {
        "shards": [[f.name, f.stat().st_size] for f in files],
        "windows": [list(dataclasses.astuple(w)) for w in windows],
    }
    write_whole(run / INDEX_FILE, json.dumps(plain))


def load_index(run: pathlib.Path, files: Sequence[pathlib.Path]) -> list[Window]:
    """The windows that `save_index` kept.

    Raises:
      DataError: The shards are others than they were.
    """
    plain = json.loads((run / INDEX_FILE).read_text(encoding="utf-8"))
    if plain["shards"] != [[f.name, f.stat().st_size] for f in files]:
        raise DataError(
            f"{files[0].parent}: names or sizes of the shards are not those that the run in {run} "
            "began with; put them back, or start a new run"
        )
    return [Window(*values) for values in plain["windows"]]
