"""Checks of the media files that a dataset names. They yield findings and raise no errors."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.data.checks import texts
from mmrank.data.findings import SHOWN, Finding, whole
from mmrank.data.kinds import kind_of
from mmrank.data.kinds.media import MediaKind
from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError
from mmrank.schema import Feature, Schema

SAMPLE = 500


def check_media(
    folder: pathlib.Path,
    schema: Schema,
    frames: Mapping[str, pd.DataFrame],
    media: str,
    counts: dict[str, dict[str, int]],
) -> Iterator[Finding]:
    """Finds missing and unreadable media files, as warnings; writes counts per feature to `counts`.

    Args:
      folder: The dataset's folder.
      schema: Its schema; a feature on a side that its kind does not allow is skipped.
      frames: Its tables, as far as they could be read.
      media: Which files are read: `all`, an even `sample` of `SAMPLE` per feature, or `none`.
      counts: Receives the numbers of files named, missing, checked and broken by feature. A file of
        a query counts once, however many lists have the query; a file of an item counts once for
        each item.
    """
    wanted = []
    for feature in schema.features:
        table = "catalog" if feature.side == "item" else "lists"
        kind = kind_of(feature.kind)
        if not isinstance(kind, MediaKind) or feature.side not in kind.sides:
            continue
        if table in frames and feature.column in frames[table]:
            file, column = getattr(schema, table).file, frames[table][feature.column]
            wanted.append((feature, kind, file, column))
    if not wanted:
        return
    try:
        store = MediaStore(folder / (schema.media or "."))
    except DataError as error:
        yield whole("schema.yaml", None, str(error), "all media count as absent", fatal=False)
        return
    for feature, kind, file, column in wanted:
        yield from _check_feature(store, feature, kind, file, column, media, counts)
    store.close()


def _check_feature(
    store: MediaStore,
    feature: Feature,
    kind: MediaKind,
    file: str,
    column: pd.Series,
    media: str,
    counts: dict[str, dict[str, int]],
) -> Iterator[Finding]:
    names = texts(column).to_numpy(dtype=object)
    named = np.flatnonzero(names != "")
    if feature.side != "item":  # the file of a query is repeated in every row of its lists
        named = named[~pd.Series(names[named]).duplicated().to_numpy()]
    problems = {int(r): store.problem(names[r]) for r in named}
    missing = {r: problem for r, problem in problems.items() if problem is not None}
    there = np.array([r for r in named if int(r) not in missing], dtype=np.int64)
    if media == "none":
        there = there[:0]
    elif media == "sample" and len(there) > SAMPLE:
        there = there[np.linspace(0, len(there) - 1, SAMPLE).astype(np.int64)]
    broken = {}
    for r in tqdm(there, desc=f"checking {feature.name}", unit=" files", disable=None):
        data = store.read(names[r])
        reason = "cannot be read" if data is None else kind.probe(data)
        if reason is not None:
            broken[int(r)] = reason
    counts[feature.name] = {
        "named": len(named),
        "missing": len(missing),
        "checked": len(there),
        "broken": len(broken),
    }
    example = next(store.names(), None) if len(missing) == len(named) else None
    hint = f"; an existing file is named {example!r}" if example else ""
    rows_of = {"item": "items", "query": "queries"}.get(feature.side, "rows")
    unreadable = f"unreadable {feature.kind} files"
    for files, what in ((missing, "missing files"), (broken, unreadable)):
        if files:
            shown = tuple((r + 1, f"{names[r]!r} ({files[r]})") for r in list(files)[:SHOWN])
            remedy = f"these {rows_of} count as having no {feature.name}"
            if files is missing:
                remedy += hint
            yield Finding(file, feature.column, len(files), shown, what, remedy, False)
