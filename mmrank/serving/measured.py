"""Measures an export: bytes on disk, bytes to transfer, and time for one list."""

from __future__ import annotations

import pathlib
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mmrank.compression.lite import LiteRanker
from mmrank.compression.report import Measured
from mmrank.data.tables import Dataset
from mmrank.scoring import ListScorer
from mmrank.serving.ranker import Ranker
from mmrank.serving.samples import Samples
from mmrank.serving.signatures import ITEMS, RANK_ITEMS
from mmrank.trained_run import Run

CANDIDATES = 100
REPEATS = 30
NOTE = (
    f"ms: one list of {CANDIDATES} candidates, in process; the signature rank_items, and for "
    "dynamic_range only the TensorFlow Lite files, without preprocessing"
)
_WARM_UP = 3
_LISTS = 20  # timed for TensorFlow Lite
Tensors = Mapping[str, tf.Tensor]


def sample_request(run: Run, dataset: Dataset) -> dict[str, np.ndarray]:
    """Returns a request of `rank_items` with 100 candidates, the same at every call."""
    sample = Samples(run.fitted, dataset).of(CANDIDATES)
    return {**sample.contexts, **sample.history, **sample.pairs, ITEMS: sample.ids}


def measure_export(folder: pathlib.Path, request: Mapping[str, np.ndarray]) -> Measured:
    """Measures an export; its time is that of `rank_items` in this process.

    Args:
      folder: The export.
      request: As `sample_request` returns it.
    """
    function = Ranker.load(folder).signatures[RANK_ITEMS]
    tensors = {n: tf.constant(a) for n, a in request.items()}
    return Measured(*sizes(folder), _median_milliseconds(lambda: function(**tensors)))


def measure_lite(run: Run, dataset: Dataset, folder: pathlib.Path) -> Measured:
    """Measures the files for TensorFlow Lite; their time is that of contexts and scores.

    Args:
      run: The ranker.
      dataset: Its dataset; validation lists are ranked, padded to 100 candidates.
      folder: The files, as `write_lite` makes them.
    """
    lite = LiteRanker(run.model, folder)
    seconds: list[float] = []

    def timed(table: Tensors, batch: Tensors) -> Tensors:
        start = time.perf_counter()
        given = lite.score(table, batch)
        seconds.append(time.perf_counter() - start)
        return given

    rows, column = dataset.rows("valid"), dataset.schema.lists.list
    some = rows[rows[column].isin(rows[column].unique()[:_LISTS])]
    some = some.groupby(column, sort=False).head(CANDIDATES)
    arrays = run.fitted.arrays(dataset, some, run.items(dataset))
    ListScorer(run.model, 1, (CANDIDATES,), lite.encode, timed)(arrays)
    return Measured(*sizes(folder), 1000 * statistics.median(seconds[1:] or seconds))


def sizes(folder: pathlib.Path) -> tuple[int, int]:
    """Returns the bytes of a folder's files, and those of their archive compressed by gzip."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(folder, arcname="export")
        return size, packed.tell()


def _median_milliseconds(call: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
