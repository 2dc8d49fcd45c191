"""Checks a whole dataset before training, and reports all problems in one pass."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.checks import (
    check_catalog,
    check_columns,
    check_events,
    check_schema,
    check_sensitive,
    known_ids,
)
from mmrank.data.checks import texts as as_texts
from mmrank.data.columns import TABLES
from mmrank.data.event_checks import check_event_times, count_events
from mmrank.data.findings import GRADES, TRAINING, Finding, whole
from mmrank.data.kinds import kind_of
from mmrank.data.list_checks import check_lists, split_column
from mmrank.data.media_checks import check_media
from mmrank.data.plausible import check_plausible
from mmrank.data.reading import FOUND
from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError, Dataset, load_dataset, read_one
from mmrank.schema import SCHEMA_FILE, Feature, Schema, load_schema

MEDIA = ("all", "sample", "none")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ValidationReport:
    """What a dataset holds and what is wrong with it.

    Attributes:
      name: The dataset's name.
      folder: Its folder.
      findings: All findings, in the order of the checks.
      counts: items, lists, candidates, queries, users, events; `without_events` with the numbers of
        items and users without events; `found` with descriptions of the detected dialects of files;
        `splits` with lists and candidates of each; `media` with named, missing, checked and broken
        files of each feature whose values are files; `empty_texts` with the number of empty values
        of each feature whose kind counts them: texts and reviews.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> report = validate_dataset("shop")
      >>> report.raise_if_errors()
      >>> [split for split, counted in report.counts["splits"].items()]
      ['train', 'valid', 'test']
    """

    name: str
    folder: pathlib.Path
    findings: tuple[Finding, ...]
    counts: Mapping[str, Any]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that have to be fixed before training."""
        return tuple(f for f in self.findings if f.fatal)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that do not prevent training."""
        return tuple(f for f in self.findings if not f.fatal)

    def raise_if_errors(self) -> None:
        """Raises an error if the report has errors.

        Raises:
          DataError: The report has errors; the message has one per line.
        """
        if self.errors:
            raise DataError(f"{self.folder}: {_section('errors', self.errors)}")

    def __str__(self) -> str:
        parts = [f"{self.name} in {self.folder}", *_describe(self.counts)]
        for title, findings in (("errors", self.errors), ("warnings", self.warnings)):
            if findings:
                parts.append(_section(title, findings))
        return "\n".join(parts)


def validate_dataset(
    folder: str | pathlib.Path,
    media: str = "sample",
    schema: Schema | None = None,
    passed_over: Collection[str] = (),
) -> ValidationReport:
    """A report of what the dataset in a folder holds and of everything that is wrong with it.

    Nothing is written. Bad data raises no error; the report has it.

    Args:
      folder: The folder with the schema.yaml.
      media: Which media files are decoded: `all`, an even `sample` of 500 per feature, or `none`.
        The existence of all files is always checked.
      schema: Used instead of the schema.yaml in the folder.
      passed_over: Values of `Finding.concerns` whose findings are left out.

    Raises:
      SchemaError: The schema.yaml is missing or cannot be used.
      ValueError: An unknown value of `media`.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> report = validate_dataset("shop")
      >>> report.errors, report.counts["items"], report.counts["lists"]
      ((), 60, 20)
    """
    if media not in MEDIA:
        raise ValueError(f"unknown media={media!r}; known: {', '.join(MEDIA)}")
    folder = pathlib.Path(folder)
    return _validated(folder, media, schema or load_schema(folder), passed_over)[0]


def _validated(
    folder: pathlib.Path,
    media: str,
    schema: Schema,
    passed_over: Collection[str],
) -> tuple[ValidationReport, dict[str, pd.DataFrame]]:
    """The report, and the tables that could be read, by name."""
    findings: list[Finding] = []
    frames: dict[str, pd.DataFrame] = {}
    for table in TABLES:
        if table == "lists" and not schema.lists.file:
            findings.append(_without_lists())
            continue
        try:
            frame = read_one(folder, schema, table)
        except DataError as error:
            file = getattr(schema, table).file
            findings.append(whole(file, None, str(error).removeprefix(f"{folder / file}: "), ""))
        else:
            if frame is not None:
                frames[table] = frame
    findings += check_schema(schema)
    findings += check_columns(schema, frames)
    findings += check_sensitive(folder, schema, frames)
    items = _catalog_ids(schema, frames)
    if "catalog" in frames:
        findings += check_catalog(schema, frames["catalog"])
    if "lists" in frames:
        findings += check_lists(schema, frames["lists"], items)
    if "events" in frames:
        findings += check_events(schema, frames["events"], items)
        findings += check_event_times(schema, frames["events"], frames.get("lists"))
    findings += check_plausible(schema, frames)
    counts = _counts(schema, frames)
    counts["found"] = tuple(what for f in frames.values() for what in f.attrs.get(FOUND, ()))
    findings += check_media(folder, schema, frames, media, counts["media"])
    reported = tuple(f for f in findings if f.concerns not in passed_over)
    return ValidationReport(schema.name, folder, reported, counts), frames


def _without_lists() -> Finding:
    return whole(
        SCHEMA_FILE,
        None,
        "lists is null, so there is nothing to learn from",
        "the catalogue can be encoded; for training, add a table of judged or clicked lists",
        fatal=False,
    )


def checked_dataset(
    folder: str | pathlib.Path,
    training: bool = True,
    graded: bool = True,
    read: Sequence[Feature] = (),
) -> Dataset:
    """The dataset in a folder, after validation; the report or its warnings are logged.

    Args:
      folder: The folder with the schema.yaml.
      training: Whether the dataset will be trained on. If not, findings that concern only training
        are left out, media are not decoded, and only warnings are logged.
      graded: Whether every candidate has to have a grade.
      read: Features of a ranker that will read the dataset. They replace the features of the same
        names in the schema.yaml; their columns have to exist and are checked.

    Raises:
      SchemaError: The schema.yaml is missing or cannot be used.
      DataError: Validation found errors; the message has all of them.

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> len(checked_dataset("shop").catalog)
      60
    """
    passed_over = [*([] if training else [TRAINING]), *([] if graded else [GRADES])]
    media = "sample" if training else "none"
    folder = pathlib.Path(folder)
    schema = load_schema(folder)
    by_name = {f.name: f for f in schema.features} | {f.name: f for f in read}  # keeps the order
    schema = dataclasses.replace(schema, features=tuple(by_name.values()))
    report, frames = _validated(folder, media, schema, passed_over)
    if training:
        logger.info("%s", report)
    report.raise_if_errors()
    for finding in () if training else report.warnings:
        logger.warning("%s", finding)
    return load_dataset(folder, schema, frames)


def _catalog_ids(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> set[str] | None:
    catalog = frames.get("catalog")
    if catalog is None or schema.catalog.item not in catalog:
        return None
    return set(known_ids(catalog[schema.catalog.item]).dropna())


def _counts(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The counts of a report; counts that need a missing column are left out."""
    counts: dict[str, Any] = {"splits": {}, "media": {}, "empty_texts": {}}
    for key, table in (("items", "catalog"), ("candidates", "lists"), ("events", "events")):
        if table in frames:
            counts[key] = len(frames[table])
    for feature in schema.features:
        frame = frames.get("catalog" if feature.side == "item" else "lists")
        if frame is not None and feature.column in frame:
            empty = kind_of(feature.kind).count_empty(frame[feature.column], feature)
            if empty is not None:
                counts["empty_texts"][feature.name] = empty
    if "events" in frames:
        counts["without_events"] = count_events(schema, frames["events"], frames)
    lists = frames.get("lists")
    if lists is None:
        return counts
    if schema.lists.user in lists:
        counts["users"] = int(known_ids(lists[schema.lists.user]).nunique())
    asked = [f.column for f in schema.side("query") if f.column in lists]
    if asked:
        keys = pd.DataFrame({column: as_texts(lists[column]) for column in asked})
        counts["queries"] = len(keys.drop_duplicates())
    if schema.lists.list in lists:
        ids = known_ids(lists[schema.lists.list])
        counts["lists"] = int(ids.nunique())
        split = split_column(schema, lists)
        for name in SPLITS if split is not None else ():
            inside = np.asarray(split == name)
            counts["splits"][name] = {
                "lists": int(ids[inside].nunique()),
                "candidates": int(inside.sum()),
            }
    return counts


def _describe(counts: Mapping[str, Any]) -> Iterator[str]:
    for what in counts["found"]:
        yield f"  found in {what}"
    plain = ("items", "lists", "candidates", "queries", "users", "events")
    yield "  " + ", ".join(f"{counts[k]:,} {k}" for k in plain if k in counts)
    without = {k: n for k, n in counts.get("without_events", {}).items() if n}
    if without:
        yield "  without an event: " + ", ".join(f"{n:,} {what}" for what, n in without.items())
    for name, split in counts["splits"].items():
        yield f"  {name}: {split['lists']:,} lists, {split['candidates']:,} candidates"
    for name, files in counts["media"].items():
        yield f"  {name}: " + ", ".join(f"{n:,} {what}" for what, n in files.items())
    for name, empty in counts["empty_texts"].items():
        yield f"  {name}: {empty:,} empty"


def _section(title: str, findings: Collection[Finding]) -> str:
    return "\n".join([f"{title} ({len(findings)})", *(f"  {finding}" for finding in findings)])
