"""The pipeline from rows of a catalogue to shards of item vectors.

A batch is a cell: the items of a small range of hashes, of which a shard holds several. What is
encoded together is thus the same whatever the number of shards or workers, and so is every bit.
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

from mmrank.data.shards import key_hashes, shard_file, shard_numbers, whole_shard
from mmrank.data.tables import as_ids
from mmrank.serving.computed import Part, write_vectors
from mmrank.serving.ranker import Ranker
from mmrank.serving.signatures import ENCODE_ITEMS
from pipelines.beam.jobs import BROKEN_MEDIA, COUNTERS, Job, Step
from pipelines.beam.joins import Newest, catalog_rows, refuse_without_id
from pipelines.beam.readers import Reader, aged_from, broken_media


@dataclasses.dataclass(frozen=True)
class Places:
    """Which cell and which shard an item belongs to.

    Attributes:
      cells: Ranges of hashes encoded together.
      shards: Ranges of cells written together; at most as many.
    """

    cells: int
    shards: int

    def cell(self, ids: Iterable[str]) -> np.ndarray:
        """The cell of every id, [ids] int64."""
        return shard_numbers(key_hashes(ids), self.cells)

    def shard(self, cells: np.ndarray) -> np.ndarray:
        """The shard of every cell, of the same shape."""
        return cells * self.shards // self.cells

    def file(self, shard: int) -> str:
        """The name of a shard."""
        return shard_file("items", shard, self.shards, "parquet")


def cell_count(items: int, batch: int) -> int:
    """The number of cells of which each holds about half a batch to a batch of items."""
    return 2 ** max(0, math.ceil(math.log2(max(items, 1) / batch)))


def embed_items(
    job: Job,
    reader: Reader,
    catalog: Any,
    places: Places,
    pending: Sequence[int],
    export: pathlib.Path,
    out: pathlib.Path,
) -> None:
    """Adds the steps from rows of the catalogue to shards.

    Args:
      job: The job.
      reader: Of the export's item features.
      catalog: Rows of the catalogue, [frames], indexed by their order.
      places: Where each item belongs.
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
    wanted = job.do("to shards", catalog, ToShards(reader, places, tuple(pending)))
    # A shard without an item is written too, so that a finished folder has them all.
    every = job.pipeline | "every shard" >> beam.Create([(shard, None) for shard in pending])
    joined = {"every": every, "rows": wanted} | "whole shards" >> beam.CoGroupByKey()
    job.do("encode", joined, Encode(reader, places, export, out), newest)


@dataclasses.dataclass(eq=False)
class ToShards(Step):
    """The rows of items by shard; those of finished shards are left out."""

    reader: Reader
    places: Places
    pending: tuple[int, ...]

    def work(self, frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
        place = self.reader.schema.catalog
        ids = as_ids(frame[place.item])
        refuse_without_id(place.file, place.item, ids)
        shards = self.places.shard(self.places.cell(ids))
        for shard in np.intersect1d(shards, self.pending):
            yield int(shard), frame[shards == shard]


@dataclasses.dataclass(eq=False)
class Encode(Step):
    """Writes a shard and gives its number."""

    reader: Reader
    places: Places
    export: pathlib.Path
    out: pathlib.Path
    shared: Shared = dataclasses.field(default_factory=Shared)

    def setup(self) -> None:
        """Loads the export, once for all threads of a process."""
        self.ranker = self.shared.acquire(lambda: Ranker.load(self.export))

    def teardown(self) -> None:
        """Lets go of the export before the interpreter takes TensorFlow apart."""
        del self.ranker

    def work(
        self, joined: tuple[int, Mapping[str, Any]], newest: Mapping[str, float]
    ) -> Iterator[int]:
        shard, parts = joined
        aged_from(self.reader.of_side("item"), newest)
        ids, rows = catalog_rows(self.reader.schema, parts["rows"])
        write = functools.partial(write_vectors, parts=self.encoded(ids.to_numpy(), rows))
        whole_shard(self.out, self.places.file(shard), write)
        yield shard

    def encoded(self, ids: np.ndarray, rows: pd.DataFrame) -> Iterator[Part]:
        """What is kept of some items, a cell at a time in the order of their hashes."""
        outputs = self.ranker.signatures[ENCODE_ITEMS].structured_outputs
        shape = outputs["tokens"].shape
        match = outputs["match"].shape[1] if "match" in outputs else 0
        yield (
            [],
            np.zeros([0, *shape[1:]], np.float32),
            np.zeros([0, shape[1]], bool),
            np.zeros([0, match], np.float32),
        )
        cells = self.places.cell(ids)
        hashes = key_hashes(ids)
        for cell in np.unique(cells):
            at = np.flatnonzero(cells == cell)
            order = at[np.lexsort((ids[at].astype(str), hashes[at]))]
            yield from self.cell(ids[order], rows.iloc[order])

    def cell(self, ids: np.ndarray, rows: pd.DataFrame) -> Iterator[Part]:
        """What is kept of the items of a cell."""
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
