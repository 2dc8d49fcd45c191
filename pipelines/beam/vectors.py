"""The pipeline from rows of a catalogue to shards of item vectors.

A batch is a cell: the items of a small range of hashes. A shard holds several cells. The items that
are encoded together therefore do not depend on the number of shards or workers, and the result is
bitwise the same.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from mmrank.data.cells import as_ids
from mmrank.data.shards import key_hashes, shard_file, shard_numbers, whole_shard
from mmrank.serving.computed import Part, write_vectors
from mmrank.serving.ranker import Ranker
from mmrank.serving.signatures import ENCODE_ITEMS
from pipelines.beam.jobs import BROKEN_MEDIA, COUNTERS, Job, Step
from pipelines.beam.joins import Newest, catalog_rows, refuse_without_id
from pipelines.beam.readers import Reader, aged_from, broken_media


@dataclasses.dataclass(frozen=True)
class Partition:
    """The cell and the shard that an item belongs to.

    Attributes:
      cells: Ranges of hashes encoded together.
      shards: Ranges of cells written together; at most `cells`.
    """

    cells: int
    shards: int

    def cell(self, ids: Iterable[str]) -> np.ndarray:
        """The cell of every id, [ids] int64."""
        return shard_numbers(key_hashes(ids), self.cells)

    def shard(self, cells: np.ndarray) -> np.ndarray:
        """The shard of every cell, in the same shape."""
        return cells * self.shards // self.cells

    def file(self, shard: int) -> str:
        """The file name of a shard."""
        return shard_file("items", shard, self.shards, "parquet")


def cell_count(items: int, batch: int) -> int:
    """The number of cells so that each holds about half a batch to a full batch of items."""
    return 2 ** max(0, math.ceil(math.log2(max(items, 1) / batch)))


def embed_items(
    job: Job,
    reader: Reader,
    catalog: Any,
    partition: Partition,
    pending: Sequence[int],
    export: pathlib.Path,
    out: pathlib.Path,
) -> None:
    """Adds the steps from rows of the catalogue to shards.

    Args:
      job: The job.
      reader: Reader of the export's item features.
      catalog: Rows of the catalogue, [frames], indexed by their order.
      partition: The cell and shard of each item.
      pending: Shards to write.
      export: The export whose `encode_items` is run.
      out: Folder of the shards.
    """
    newest: Any = {}
    if any(f.kind == "reviews" for f in reader.schema.side("item")):
        newest = beam.pvalue.AsDict(
            job.do("times of reviews", catalog, Newest(reader))
            | "newest review" >> beam.CombinePerKey(max)
        )
    wanted = job.do("to shards", catalog, ToShards(reader, partition, tuple(pending)))
    # A shard without items is written too, so that a finished folder has all shards.
    every = job.pipeline | "every shard" >> beam.Create([(shard, None) for shard in pending])
    joined = {"every": every, "rows": wanted} | "whole shards" >> beam.CoGroupByKey()
    job.do("encode", joined, Encode(reader, partition, export, out), newest)


@dataclasses.dataclass(eq=False)
class ToShards(Step):
    """The rows of items by shard, without those of finished shards."""

    reader: Reader
    partition: Partition
    pending: tuple[int, ...]

    def work(self, frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
        spec = self.reader.schema.catalog
        ids = as_ids(frame[spec.item])
        refuse_without_id(spec.file, spec.item, ids)
        shards = self.partition.shard(self.partition.cell(ids))
        for shard in np.intersect1d(shards, self.pending):
            yield int(shard), frame[shards == shard]


@dataclasses.dataclass(eq=False)
class Encode(Step):
    """Writes a shard and returns its index."""

    reader: Reader
    partition: Partition
    export: pathlib.Path
    out: pathlib.Path
    shared: Shared = dataclasses.field(default_factory=Shared)

    def setup(self) -> None:
        """Loads the export, once for all threads of a process."""
        self.ranker = self.shared.acquire(lambda: Ranker.load(self.export))

    def teardown(self) -> None:
        """Releases the export before the interpreter unloads TensorFlow."""
        del self.ranker

    def work(
        self, joined: tuple[int, Mapping[str, Any]], newest: Mapping[str, float]
    ) -> Iterator[int]:
        shard, parts = joined
        aged_from(self.reader.of_side("item"), newest)
        ids, rows = catalog_rows(self.reader.schema, parts["rows"])
        write = functools.partial(write_vectors, parts=self.encoded(ids.to_numpy(), rows))
        whole_shard(self.out, self.partition.file(shard), write)
        yield shard

    def encoded(self, ids: np.ndarray, rows: pd.DataFrame) -> Iterator[Part]:
        """The stored values of some items, one cell at a time in the order of their hashes."""
        outputs = self.ranker.signatures[ENCODE_ITEMS].structured_outputs
        shape = outputs["tokens"].shape
        match = outputs["match"].shape[1] if "match" in outputs else 0
        yield (
            [],
            np.zeros([0, *shape[1:]], np.float32),
            np.zeros([0, shape[1]], bool),
            np.zeros([0, match], np.float32),
        )
        cells = self.partition.cell(ids)
        hashes = key_hashes(ids)
        for cell in np.unique(cells):
            at = np.flatnonzero(cells == cell)
            order = at[np.lexsort((ids[at].astype(str), hashes[at]))]
            yield from self.cell(ids[order], rows.iloc[order])

    def cell(self, ids: np.ndarray, rows: pd.DataFrame) -> Iterator[Part]:
        """The stored values of the items of a cell."""
        kinds = self.reader.of_side("item")
        for start, count, raw in self.reader.raw(kinds, rows):
            lost = broken_media(kinds, rows.iloc[start : start + count], raw)
            Metrics.counter(COUNTERS, BROKEN_MEDIA).inc(lost)
            inputs = {}
            for kind in kinds:
                values, present = raw[kind.name]
                inputs[kind.name] = tf.constant(values, kind.raw_dtype)
                inputs[f"{kind.name}_present"] = tf.constant(present)
            found = self.ranker.signatures[ENCODE_ITEMS](**inputs)
            tokens, present = found["tokens"].numpy(), found["present"].numpy()
            match = np.zeros([count, 0], np.float32)
            if "match" in found:
                match = found["match"].numpy()
            yield list(ids[start : start + count]), tokens, present, match
