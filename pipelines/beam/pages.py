"""Turns a log of result pages into rows of lists and events, cleaned page by page."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
from apache_beam.metrics import Metrics

from mmrank.data.pseudonyms import Pseudonyms
from pipelines.beam.jobs import COUNTERS, SHORT_PAGES, Job, Step
from pipelines.beam.joins import Split, in_order
from pipelines.prepare_logs import (
    TEST_SHARE,
    VALID_SHARE,
    Columns,
    clean_pages,
    event_rows,
    graded_pages,
)

MINUTE = 60


def log_rows(
    job: Job,
    log: Any,
    file: pathlib.Path,
    columns: Columns,
    others: list[str],
    ranges: int,
    pseudonyms: bool,
) -> tuple[Any, Any]:
    """Adds the steps from rows of a log to rows of lists with grades and splits, and of events.

    Args:
      job: The job.
      log: Rows of the log, [frames].
      file: The log's file, for messages.
      columns: The content of the log's columns.
      others: Further columns to keep.
      ranges: Number of ranges of the joins.
      pseudonyms: Whether keyed hashes replace the users' ids; every worker reads the
        key from its own environment.

    Returns:
      Frames of the lists and of the events; the latter are None without users or times.
    """
    pages = job.do("log to ranges", log, Split(ranges, str(file)), columns.list)
    pages = pages | "whole pages" >> beam.GroupByKey() | "pages in order" >> beam.MapTuple(in_order)
    rows = job.do("clean pages", pages, Clean(file, columns, others, pseudonyms))
    events = None
    if columns.user is not None and columns.time is not None:
        events = job.do("events of pages", rows, PageEvents())
    if columns.time is None:
        return rows, events
    per_minute = rows | "minutes" >> beam.FlatMap(minutes) | "a minute's" >> beam.CombinePerKey(sum)
    lists = job.do("split by time", rows, SplitByTime(), beam.pvalue.AsDict(per_minute))
    return lists, events


@dataclasses.dataclass(eq=False)
class Clean(Step):
    """The graded rows of pages, indexed by time, page and position."""

    file: pathlib.Path
    columns: Columns
    others: list[str]
    pseudonyms: bool

    def work(self, page: tuple[int, pd.DataFrame]) -> Iterator[pd.DataFrame]:
        rows, short = graded_pages(clean_pages(page[1], self.file, self.columns, self.others))
        if self.pseudonyms and "user" in rows:
            known = Pseudonyms.from_environment()
            rows["user"] = rows["user"].map(known.of, na_action="ignore")
        Metrics.counter(COUNTERS, SHORT_PAGES).inc(short)
        if len(rows):
            order = [rows[c].to_numpy() for c in ("time", "list", "position") if c in rows]
            yield rows.set_index(pd.MultiIndex.from_arrays(order))


@dataclasses.dataclass(eq=False)
class PageEvents(Step):
    """The events of some pages' rows, in the order of a whole log's."""

    def work(self, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
        events = event_rows(rows)
        if len(events):
            yield events


@dataclasses.dataclass(eq=False)
class SplitByTime(Step):
    """Rows with the split of their list."""

    def work(self, rows: pd.DataFrame, per_minute: Mapping[int, int]) -> Iterator[pd.DataFrame]:
        valid, test = cuts(per_minute)
        minute = rows["time"] // MINUTE
        names = np.select([minute >= test, minute >= valid], ["test", "valid"], "train")
        yield rows.assign(split=names)


def minutes(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """The number of lists of each minute."""
    counts = (rows.groupby("list")["time"].first() // MINUTE).astype(np.int64).value_counts()
    return [(int(minute), int(count)) for minute, count in counts.items()]


def cuts(per_minute: Mapping[int, int]) -> tuple[float, float]:
    """The minutes from which lists are for validation and for the test.

    Each part holds at least its share of the lists, and no minute is divided.

    Args:
      per_minute: Lists by minute.
    """
    latest = np.array(sorted(per_minute, reverse=True))
    counts = np.cumsum([per_minute[m] for m in latest])
    shares = np.array([TEST_SHARE, TEST_SHARE + VALID_SHARE]) * counts[-1]
    # Rounding must not increase a share that is a whole number of lists.
    test, valid = np.searchsorted(counts, np.ceil(shares - 1e-6))
    return float(latest[max(valid, min(test + 1, len(latest) - 1))]), float(latest[test])
