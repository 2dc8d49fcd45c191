"""The joins of a Beam job by ranges of hashes, of frames of items, events and lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from apache_beam.metrics import Metrics

from mmrank.data.cells import as_ids
from mmrank.data.findings import offenders
from mmrank.data.numbering import number_events, number_lists
from mmrank.data.runs import run_starts
from mmrank.data.shards import key_hashes, shard_numbers
from mmrank.data.tables import DataError
from mmrank.schema import Schema
from pipelines.beam.histories import Past, heads, pasts
from pipelines.beam.jobs import BROKEN_MEDIA, COUNTERS, Step
from pipelines.beam.readers import Reader, aged_from, broken_media, newest_reviews
from pipelines.beam.records import ITEM_ID, put, put_raw

Frames = Iterable[pd.DataFrame]


@dataclasses.dataclass(eq=False)
class Split(Step):
    """Splits a frame's rows by the hash range of a column of ids.

    Attributes:
      ranges: Number of ranges.
      file: The table, if every row must have an id; if None, rows without an id are dropped.
    """

    ranges: int
    file: str | None = None

    def work(self, frame: pd.DataFrame, column: str) -> Iterator[tuple[int, pd.DataFrame]]:
        ids = as_ids(frame[column])
        if self.file is not None:
            refuse_without_id(self.file, column, ids)
        known = ids.notna().to_numpy()
        yield from by_range(frame[known], ids[known], self.ranges)


def refuse_without_id(file: str, column: str, ids: pd.Series) -> None:
    """Checks that every row of a table has an id.

    Raises:
      DataError: A row has no id.
    """
    none = ids.isna().to_numpy()
    if none.any():
        raise DataError(offenders(file, column, none, ids, "no id; fill it or drop the row"))


def by_range(
    frame: pd.DataFrame, ids: pd.Series, ranges: int
) -> Iterator[tuple[int, pd.DataFrame]]:
    """The rows of each range of hashes, in their order."""
    codes, unique = pd.factorize(ids)
    numbers = shard_numbers(key_hashes(unique), ranges)[codes]
    for number in np.unique(numbers):
        yield int(number), frame[numbers == number]


def in_order(key: int, frames: Frames) -> tuple[int, pd.DataFrame]:
    """A range's frames as one."""
    return key, whole(frames)


def whole(frames: Frames) -> pd.DataFrame:
    """Frames joined into one, in the order of their index."""
    return pd.concat(list(frames)).sort_index(kind="stable")


@dataclasses.dataclass(eq=False)
class Newest(Step):
    """The time of the latest review of a frame, by feature."""

    reader: Reader

    def work(self, frame: pd.DataFrame) -> Iterator[tuple[str, float]]:
        yield from newest_reviews(self.reader, frame)


@dataclasses.dataclass(eq=False)
class Wanted(Step):
    """The item ids of a shard's lists by range, with the shard."""

    schema: Schema
    ranges: int

    def work(self, page: tuple[int, pd.DataFrame]) -> Iterator[tuple[int, Any]]:
        shard, rows = page
        ids = pd.Series(as_ids(rows[self.schema.lists.item]).dropna().unique(), dtype=object)
        for number, part in by_range(ids.to_frame("id"), ids, self.ranges):
            yield number, (shard, list(part["id"]))


@dataclasses.dataclass(eq=False)
class Describe(Step):
    """Every shard's items as (shard, (id, a serialized example of their features))."""

    reader: Reader

    def work(
        self, met: tuple[int, Mapping[str, Any]], newest: Mapping[str, float]
    ) -> Iterator[tuple[int, tuple[str, bytes]]]:
        wanted: dict[str, list[int]] = {}
        for shard, ids in met[1]["wanted"]:
            for item in ids:
                wanted.setdefault(item, []).append(shard)
        ids, rows = catalog_rows(self.reader.schema, met[1]["catalog"])
        shown = ids.isin(wanted.keys()).to_numpy()
        ids, rows = ids[shown].to_numpy(), rows[shown]
        kinds = self.reader.of_side("item")
        aged_from(kinds, newest)
        broken = Metrics.counter(COUNTERS, BROKEN_MEDIA)
        for start, count, raw in self.reader.raw(kinds, rows):
            broken.inc(broken_media(kinds, rows.iloc[start : start + count], raw))
            for row in range(count):
                item = ids[start + row]
                example = tf.train.Example()
                put_raw(example, raw, row)
                put(example, ITEM_ID, [item])
                data = example.SerializeToString(deterministic=True)
                for shard in wanted[item]:
                    yield shard, (item, data)


def catalog_rows(schema: Schema, frames: Frames) -> tuple[pd.Series, pd.DataFrame]:
    """Ids and rows of a range of the catalogue.

    Raises:
      DataError: An id is repeated.
    """
    frames = list(frames)
    if not frames:
        return pd.Series([], dtype=object), pd.DataFrame()
    rows = whole(frames)
    ids = as_ids(rows[schema.catalog.item])
    twice = ids.duplicated().to_numpy()
    if twice.any():
        what = "is a duplicate item id; keep one row per item"
        raise DataError(offenders(schema.catalog.file, schema.catalog.item, twice, ids, what))
    return ids, rows


@dataclasses.dataclass(eq=False)
class KnownEvents(Step):
    """Events of items in the catalogue and of known users, by range of users."""

    schema: Schema
    ranges: int

    def work(self, met: tuple[int, Mapping[str, Any]]) -> Iterator[tuple[int, pd.DataFrame]]:
        frames = list(met[1]["events"])
        if not frames:
            return
        spec = self.schema.events
        assert spec is not None
        ids = {i for f in met[1]["catalog"] for i in as_ids(f[self.schema.catalog.item])}
        rows = whole(frames)
        users = as_ids(rows[spec.user])
        kept = (as_ids(rows[spec.item]).isin(ids) & users.notna()).to_numpy()
        named = [c for c in (spec.user, spec.item, spec.type, spec.time) if c is not None]
        yield from by_range(rows[kept][named], users[kept], self.ranges)


@dataclasses.dataclass(eq=False)
class Asked(Step):
    """Lists that need their user's events, by range of users, with their shard."""

    schema: Schema
    ranges: int

    def work(self, page: tuple[int, pd.DataFrame]) -> Iterator[tuple[int, Any]]:
        shard, rows = page
        items = as_ids(rows[self.schema.lists.item]).dropna().unique()
        everything = pd.Series(np.arange(len(items)), index=items)
        first = first_rows(self.schema, number_lists(self.schema, rows, everything))
        list_heads = heads(self.schema, first)
        for number, part in by_range(list_heads, list_heads["user"], self.ranges):
            yield number, (shard, part)


def first_rows(schema: Schema, rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of every list, from rows of `number_lists`."""
    return rows.iloc[run_starts(rows[schema.lists.list].to_numpy())]


@dataclasses.dataclass(eq=False)
class Histories(Step):
    """The events before every list, as (shard, past)."""

    schema: Schema
    length: int

    def work(self, both: tuple[int, Mapping[str, Any]]) -> Iterator[tuple[int, Past]]:
        frames, asked = list(both[1]["events"]), list(both[1]["lists"])
        if not frames or not asked:
            return
        rows, spec = whole(frames), self.schema.events
        assert spec is not None
        ids = as_ids(rows[spec.item])
        rows = rows.assign(**{spec.item: ids})
        items = ids.unique()
        events = number_events(self.schema, rows, pd.Series(np.arange(len(items)), index=items))
        for shard, lists in asked:
            for past in pasts(self.schema, self.length, events, lists):
                yield shard, past
