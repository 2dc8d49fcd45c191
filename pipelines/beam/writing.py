"""Writes shards of records by range, each list with everything that was joined to it."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.numbering import number_lists
from mmrank.data.runs import run_starts
from mmrank.data.shards import key_hashes, shard_file, whole_shard
from mmrank.data.splits import SPLITS
from mmrank.encoders import FeatureKind
from mmrank.features import row_labels
from pipelines.beam.histories import Past
from pipelines.beam.jobs import Step
from pipelines.beam.joins import first_rows
from pipelines.beam.readers import Reader
from pipelines.beam.records import (
    LABEL,
    LIST_ID,
    LIST_TIME,
    LIST_USER,
    MICROSECONDS,
    list_record,
    put,
    put_raw,
    write_records,
)


@dataclasses.dataclass(frozen=True)
class Record:
    """One list's message and its position in the order."""

    split: str
    hash: int
    id: str
    candidates: int
    data: bytes


@dataclasses.dataclass(eq=False)
class Write(Step):
    """Writes a shard's files, one per split, and yields a description of each."""

    reader: Reader
    shards: int
    out: pathlib.Path

    def work(self, joined: tuple[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        shard, parts = joined
        records = self.records(parts)
        for split in SPLITS:
            own = sorted((r for r in records if r.split == split), key=lambda r: (r.hash, r.id))
            name = shard_file(split, shard, self.shards, "tfrecord")
            data = [record.data for record in own]
            done = whole_shard(self.out, name, functools.partial(write_records, data))
            sizes = [record.candidates for record in own]
            counts = {"candidates": sum(sizes), "longest": max(sizes, default=0)}
            yield {"split": split, "shard": dataclasses.asdict(done), **counts}

    def records(self, parts: Mapping[str, Any]) -> list[Record]:
        """The records of a shard's lists."""
        schema, reader = self.reader.schema, self.reader
        examples = dict(parts["items"])
        past = {p.list_id: p for p in parts.get("pasts", ())}
        numbers = pd.Series(np.arange(len(examples)), index=list(examples), dtype=np.int64)
        frames = list(parts["rows"])
        if not frames:
            return []
        (frame,) = frames
        rows = number_lists(schema, frame, numbers)
        first = first_rows(schema, rows)
        ids = first[schema.lists.list].to_numpy()
        ends = np.r_[run_starts(rows[schema.lists.list].to_numpy()), len(rows)]
        shown = [tf.train.Example.FromString(examples[i]) for i in rows[schema.lists.item]]
        self.fill(shown, reader.of_side("pair"), rows)
        for name, values in row_labels(schema, rows).items():
            for row in np.flatnonzero(~np.isnan(values)):
                put(shown[row], f"{LABEL}{name}", [values[row]])
        contexts = [tf.train.Example() for _ in ids]
        self.fill(contexts, reader.of_side("query", "user"), first)
        records = []
        for at, (list_id, hash_) in enumerate(zip(ids, key_hashes(ids), strict=True)):
            self.put_list(contexts[at], first.iloc[at], past.get(list_id))
            data = list_record(contexts[at], shown[ends[at] : ends[at + 1]])
            size = int(ends[at + 1] - ends[at])
            records.append(Record(first["_split"].iloc[at], int(hash_), list_id, size, data))
        return records

    def fill(
        self, examples: Sequence[tf.train.Example], kinds: Sequence[FeatureKind], rows: pd.DataFrame
    ) -> None:
        """Adds the raw values of each row to its example."""
        for start, count, raw in self.reader.raw(kinds, rows):
            for row in range(count):
                put_raw(examples[start + row], raw, row)

    def put_list(self, context: tf.train.Example, row: pd.Series, past: Past | None) -> None:
        """Adds ids, time and history to a list's context."""
        schema = self.reader.schema
        put(context, LIST_ID, [row[schema.lists.list]])
        if schema.lists.user is not None and not pd.isna(row[schema.lists.user]):
            put(context, LIST_USER, [row[schema.lists.user]])
        if "_time" in row and not np.isnan(row["_time"]):
            put(context, LIST_TIME, [round(row["_time"] * MICROSECONDS)])
        if past is not None:
            history = self.reader.features.history
            assert history is not None
            put(context, f"{history.name}_items", past.items)
            put(context, f"{history.name}_types", past.types)
            put(context, f"{history.name}_ages", list(past.ages))
