"""The check of a whole dataset before training: everything that is wrong, in one pass."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.checks import (
    check_catalog,
    check_columns,
    check_events,
    check_schema,
    check_sensitive,
    empty_reviews,
    known_ids,
)
from mmrank.data.checks import texts as as_texts
from mmrank.data.event_checks import check_event_times, count_events
from mmrank.data.findings import GRADES, TRAINING, Finding, whole
from mmrank.data.list_checks import check_lists, split_column
from mmrank.data.media_checks import check_media
from mmrank.data.plausible import check_plausible
from mmrank.data.reading import FOUND
from mmrank.data.tables import SPLITS, TABLES, DataError, Dataset, load_dataset, read_one
from mmrank.schema import SCHEMA_FILE, Schema, load_schema

# Kinds of features, and the sides on which each may stand.
KINDS: Mapping[str, Collection[str]] = {
    "text": ("query", "user", "item"),
    "reviews": ("item",),
    "image": ("query", "item"),
    "number": ("query", "user", "item", "pair", "label"),
    "category": ("query", "user", "item", "pair"),
    "tags": ("query", "user", "item"),
    "attributes": ("query", "user", "item"),
    "vector": ("query", "user", "item", "pair"),
    "video": ("item",),
    "audio": ("query", "item"),
    "history": ("user",),
    "collaborative": ("pair",),
}
MEDIA = ("all", "sample", "none")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ValidationReport:
    """What a dataset holds and what is wrong with it.

    Attributes:
      name: The dataset's name.
      folder: Where it lies.
      findings: Everything found, in the order of the checks.
      counts: items, lists, candidates, queries, users, events; `without_events` with the items and
        users of whom there is none; `found`, what the files told of their dialect, in words;
        `splits` with lists and candidates of each; `media` with named, missing, checked and broken
        files of each feature whose values are files; `empty_texts` with the number of empty values
        of each text or reviews feature.
    """

    name: str
    folder: pathlib.Path
    findings: tuple[Finding, ...]
    counts: Mapping[str, Any]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What has to be mended before training."""
        return tuple(f for f in self.findings if f.fatal)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What training can live with."""
        return tuple(f for f in self.findings if not f.fatal)

    def raise_if_errors(self) -> None:
        """Nothing, if there is no error.

        Raises:
          DataError: With all errors, one on a line.
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
    kinds: Mapping[str, Collection[str]] = KINDS,
    schema: Schema | None = None,
    passed_over: Collection[str] = (),
) -> ValidationReport:
    """Everything that is wrong with the dataset in a folder, and what it holds.

    Nothing is written, and bad data raises nothing: it is reported.

    Args:
      folder: The folder with the schema.yaml.
      media: Decode `all` media files, an even `sample` of 500 a feature, or `none`. That the files
        are there is always checked.
      kinds: Known kinds of features, each with the sides on which it may stand.
      schema: What is checked in place of the schema.yaml there.
      passed_over: What findings may concern that are left out, see `Finding.concerns`.

    Raises:
      SchemaError: The schema.yaml is missing or cannot be used.
      ValueError: An unknown word for `media`.
    """
    if media not in MEDIA:
        raise ValueError(f"unknown media={media!r}; known: {', '.join(MEDIA)}")
    folder = pathlib.Path(folder)
    schema = schema or load_schema(folder)
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
    findings += check_schema(schema, kinds)
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
    findings += check_media(folder, schema, frames, kinds, media, counts["media"])
    told = tuple(f for f in findings if f.concerns not in passed_over)
    return ValidationReport(schema.name, folder, told, counts)


def _without_lists() -> Finding:
    return whole(
        SCHEMA_FILE,
        None,
        "lists is null, so there is nothing to learn from",
        "the catalogue can be encoded; for training, name a table of judged or clicked lists",
        fatal=False,
    )


def checked_dataset(
    folder: str | pathlib.Path, training: bool = True, graded: bool = True
) -> Dataset:
    """The dataset in a folder, once nothing fatal is found in it; what was found is told.

    Args:
      folder: The folder with the schema.yaml.
      training: Whether it is to be trained on. Without, what only training wants is passed over,
        media are not opened, and warnings alone are told.
      graded: Whether every candidate has to have a grade.

    Raises:
      SchemaError: The schema.yaml is missing or cannot be used.
      DataError: With all that has to be mended.
    """
    passed_over = [*([] if training else [TRAINING]), *([] if graded else [GRADES])]
    media = "sample" if training else "none"
    report = validate_dataset(folder, media, passed_over=passed_over)
    if training:
        logger.info("%s", report)
    report.raise_if_errors()
    for finding in () if training else report.warnings:
        logger.warning("%s", finding)
    return load_dataset(folder)


def _catalog_ids(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> set[str] | None:
    catalog = frames.get("catalog")
    if catalog is None or schema.catalog.item not in catalog:
        return None
    return set(known_ids(catalog[schema.catalog.item]).dropna())


def _counts(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The counts of a report; what cannot be counted for want of a column is left out."""
    counts: dict[str, Any] = {"splits": {}, "media": {}, "empty_texts": {}}
    for key, table in (("items", "catalog"), ("candidates", "lists"), ("events", "events")):
        if table in frames:
            counts[key] = len(frames[table])
    for feature in schema.features:
        frame = frames.get("catalog" if feature.side == "item" else "lists")
        if feature.kind == "text" and frame is not None and feature.column in frame:
            counts["empty_texts"][feature.name] = int(as_texts(frame[feature.column]).eq("").sum())
        if feature.kind == "reviews" and frame is not None and feature.column in frame:
            counts["empty_texts"][feature.name] = empty_reviews(frame[feature.column], feature)
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
