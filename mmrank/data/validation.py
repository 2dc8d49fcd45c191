"""The check of a whole dataset before training: everything that is wrong, in one pass."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.data.checks import check_catalog, check_columns, check_events, check_schema, known_ids
from mmrank.data.checks import texts as as_texts
from mmrank.data.findings import SHOWN, Finding, whole
from mmrank.data.list_checks import check_lists, split_column
from mmrank.data.media import MediaStore, probe_image
from mmrank.data.tables import SPLITS, TABLES, DataError, read_one
from mmrank.schema import Schema, load_schema

# Kinds of features, and the sides on which each may stand.
KINDS: Mapping[str, Collection[str]] = {
    "text": ("query", "user", "item"),
    "image": ("item",),
    "number": ("query", "user", "item", "pair", "label"),
    "category": ("query", "user", "item", "pair"),
    "tags": ("query", "user", "item"),
    "history": ("user",),
}
IMAGES = ("all", "sample", "none")
SAMPLE = 500


@dataclasses.dataclass(frozen=True)
class ValidationReport:
    """What a dataset holds and what is wrong with it.

    Attributes:
      name: The dataset's name.
      folder: Where it lies.
      findings: Everything found, in the order of the checks.
      counts: items, lists, candidates, queries, users, events; `splits` with lists and candidates
        of each; `images` with named, missing, checked and broken files of each image feature;
        `empty_texts` with the number of empty values of each text feature.
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
    images: str = "sample",
    kinds: Mapping[str, Collection[str]] = KINDS,
) -> ValidationReport:
    """Everything that is wrong with the dataset in a folder, and what it holds.

    Nothing is written, and bad data raises nothing: it is reported.

    Args:
      folder: The folder with the schema.yaml.
      images: Decode `all` images, an even `sample` of 500, or `none`. That the files are there is
        always checked.
      kinds: Known kinds of features, each with the sides on which it may stand.

    Raises:
      SchemaError: The schema.yaml is missing or cannot be used.
      ValueError: An unknown word for `images`.
    """
    if images not in IMAGES:
        raise ValueError(f"unknown images={images!r}; known: {', '.join(IMAGES)}")
    folder = pathlib.Path(folder)
    schema = load_schema(folder)
    findings: list[Finding] = []
    frames: dict[str, pd.DataFrame] = {}
    for table in TABLES:
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
    items = _catalog_ids(schema, frames)
    if "catalog" in frames:
        findings += check_catalog(schema, frames["catalog"])
    if "lists" in frames:
        findings += check_lists(schema, frames["lists"], items)
    if "events" in frames:
        findings += check_events(schema, frames["events"], items)
    counts = _counts(schema, frames)
    if "catalog" in frames:
        findings += _check_images(folder, schema, frames["catalog"], images, counts["images"])
    return ValidationReport(schema.name, folder, tuple(findings), counts)


def _catalog_ids(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> set[str] | None:
    catalog = frames.get("catalog")
    if catalog is None or schema.catalog.item not in catalog:
        return None
    return set(known_ids(catalog[schema.catalog.item]).dropna())


def _check_images(
    folder: pathlib.Path,
    schema: Schema,
    catalog: pd.DataFrame,
    images: str,
    counts: dict[str, dict[str, int]],
) -> Iterator[Finding]:
    """Missing and unreadable image files as warnings; the counts per feature go to `counts`."""
    features = [f for f in schema.side("item") if f.kind == "image" and f.column in catalog]
    if not features:
        return
    try:
        store = MediaStore(folder / (schema.media or "."))
    except DataError as error:
        yield whole("schema.yaml", None, str(error), "all images count as absent", fatal=False)
        return
    for feature in features:
        names = as_texts(catalog[feature.column]).to_numpy(dtype=object)
        named = np.flatnonzero(names != "")
        problems = {int(r): store.problem(names[r]) for r in named}
        missing = {r: problem for r, problem in problems.items() if problem is not None}
        there = np.array([r for r in named if int(r) not in missing], dtype=np.int64)
        if images == "none":
            there = there[:0]
        elif images == "sample" and len(there) > SAMPLE:
            there = there[np.linspace(0, len(there) - 1, SAMPLE).astype(np.int64)]
        broken = {}
        for r in tqdm(there, desc=f"checking {feature.name}", unit=" files", disable=None):
            data = store.read(names[r])
            reason = "cannot be read" if data is None else probe_image(data)
            if reason is not None:
                broken[int(r)] = reason
        counts[feature.name] = {
            "named": len(named),
            "missing": len(missing),
            "checked": len(there),
            "broken": len(broken),
        }
        example = next(store.names(), None) if len(missing) == len(named) else None
        hint = f"; a name there reads {example!r}" if example else ""
        for files, what in ((missing, "files that are not there"), (broken, "unreadable images")):
            if files:
                rows = tuple((r + 1, f"{names[r]!r} ({files[r]})") for r in list(files)[:SHOWN])
                remedy = "these items count as having no image" + (hint if files is missing else "")
                yield Finding(
                    schema.catalog.file, feature.column, len(files), rows, what, remedy, False
                )
    store.close()


def _counts(schema: Schema, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The counts of a report; what cannot be counted for want of a column is left out."""
    counts: dict[str, Any] = {"splits": {}, "images": {}, "empty_texts": {}}
    for key, table in (("items", "catalog"), ("candidates", "lists"), ("events", "events")):
        if table in frames:
            counts[key] = len(frames[table])
    for feature in schema.features:
        frame = frames.get("catalog" if feature.side == "item" else "lists")
        if feature.kind == "text" and frame is not None and feature.column in frame:
            counts["empty_texts"][feature.name] = int(as_texts(frame[feature.column]).eq("").sum())
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
    plain = ("items", "lists", "candidates", "queries", "users", "events")
    yield "  " + ", ".join(f"{counts[k]:,} {k}" for k in plain if k in counts)
    for name, split in counts["splits"].items():
        yield f"  {name}: {split['lists']:,} lists, {split['candidates']:,} candidates"
    for name, image in counts["images"].items():
        yield f"  {name}: " + ", ".join(f"{n:,} {what}" for what, n in image.items())
    for name, empty in counts["empty_texts"].items():
        yield f"  {name}: {empty:,} empty"


def _section(title: str, findings: Collection[Finding]) -> str:
    return "\n".join([f"{title} ({len(findings)})", *(f"  {finding}" for finding in findings)])
