"""Reads SVMlight files of learning to rank: per candidate `label qid:Q 1:v 2:v ... # comment`."""

from __future__ import annotations

import array
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mmrank.data.dialect import open_bytes
from mmrank.data.findings import DataError

COLUMNS = ("label", "qid", "item_id", "pair_id", "part", "features")
# The endings of a file of groups that the schema does not name, after the table's own file name.
GROUP_ENDINGS = (".query", ".group", ".groups")
_DOCID = re.compile(r"\bdocid\s*=\s*(\S+)")
_PARTS = {"vali": "valid", "val": "valid", "dev": "valid", "validation": "valid"}
# A larger feature number is taken for an error, because every row has a value for each number.
_MOST_FEATURES = 100_000


def read_svmlight(
    files: Sequence[pathlib.Path], groups: pathlib.Path | None = None
) -> pd.DataFrame:
    """The rows of some files as one table with the columns of `COLUMNS`.

    `features` is a vector for each row, [features] float32, zero where a feature is left out. All
    rows have the same length, up to the highest number in any file. Numbers count from 1, or from 0
    if a number is 0.
    `item_id` is the comment's docid, or `FILE-ROW` for a row without docid. `pair_id` is
    `QID/ITEM`; it can be the item id of a catalogue with a row for each pair, because the features
    describe query and document together. `part` is the file's name without endings, with valid for
    vali and the like, so that it can be the split.

    Args:
      files: The files, in the order of their rows.
      groups: File with the sizes of the lists, for a single file without qid. By default it is
        looked for next to the file, under the file's name followed by .query, .group or .groups.

    Raises:
      DataError: A file cannot be read, or its lists are unknown.
    """
    read = [_read_file(file, groups if len(files) == 1 else None) for file in files]
    low = min((int(r.numbers.min()) for r in read if len(r.numbers)), default=1)
    first = 0 if low == 0 else 1
    width = max((int(r.numbers.max()) for r in read if len(r.numbers)), default=first) - first + 1
    frames = []
    for rows in read:
        dense = np.zeros((len(rows.labels), width), np.float32)
        dense[np.repeat(np.arange(len(rows.labels)), rows.sizes), rows.numbers - first] = (
            rows.values
        )
        frame = pd.DataFrame(
            {
                "label": rows.labels,
                "qid": rows.qids,
                "item_id": rows.items,
                "pair_id": [f"{q}/{i}" for q, i in zip(rows.qids, rows.items, strict=True)],
                "part": rows.part,
            }
        )
        frame["features"] = pd.Series(list(dense), dtype=object)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


class _Rows:
    """The rows of one file; row i has `sizes[i]` of the entries of `numbers` and `values`."""

    def __init__(self, part: str):
        self.part = part
        self.labels: list[float] = []
        self.qids: list[str] = []
        self.items: list[str] = []
        self.sizes = np.zeros(0, np.int64)
        self.numbers = np.zeros(0, np.int64)
        self.values = np.zeros(0, np.float32)


def _read_file(file: pathlib.Path, groups: pathlib.Path | None) -> _Rows:
    stem = file.name.split(".")[0] or file.name
    rows = _Rows(_PARTS.get(stem.lower(), stem))
    sizes, numbers, values = array.array("q"), array.array("q"), array.array("f")
    with_qid = 0
    for line, text in _lines(file):
        body, _, comment = text.partition("#")
        tokens = body.split()
        if not tokens:
            continue
        try:
            rows.labels.append(float(tokens[0]))
            start = 1
            if len(tokens) > 1 and tokens[1].startswith("qid:"):
                rows.qids.append(tokens[1][4:])
                with_qid, start = with_qid + 1, 2
            before = len(numbers)
            for token in tokens[start:]:
                number, _, value = token.partition(":")
                numbers.append(int(number))
                values.append(float(value))
            sizes.append(len(numbers) - before)
        except ValueError as error:
            raise DataError(
                f"{file}: cannot be read as svmlight: line {line}: {error}; a line is "
                "`label qid:Q 1:v 2:v ... # comment`"
            ) from error
        found = _DOCID.search(comment)
        rows.items.append(found[1] if found else f"{stem}-{len(rows.labels)}")
    rows.sizes, rows.numbers = np.array(sizes, np.int64), np.array(numbers, np.int64)
    rows.values = np.array(values, np.float32)
    if len(numbers) and not 0 <= rows.numbers.min() <= rows.numbers.max() <= _MOST_FEATURES:
        raise DataError(f"{file}: features must have numbers from 0 to {_MOST_FEATURES:,}")
    if not rows.labels:
        raise DataError(f"{file}: cannot be read as svmlight: it is empty")
    if with_qid not in (0, len(rows.labels)):
        raise DataError(f"{file}: {with_qid} of {len(rows.labels)} rows have a qid; give it to all")
    if not with_qid:
        rows.qids = _qids(file, stem, len(rows.labels), groups)
    return rows


def _qids(file: pathlib.Path, stem: str, count: int, groups: pathlib.Path | None) -> list[str]:
    candidates = (file.with_name(file.name.removesuffix(".gz") + e) for e in GROUP_ENDINGS)
    groups = groups or next((f for f in candidates if f.is_file()), None)
    if groups is None:
        raise DataError(
            f"{file}: no row has a qid; give the file with the sizes of the lists in the schema: "
            f"{{file: {file.name}, groups: FILE}}"
        )
    sizes = []
    for line, text in _lines(groups):
        if text.strip():
            try:
                sizes.append(int(text))
            except ValueError as error:
                raise DataError(f"{groups}, line {line}: {text.strip()!r} is not a size") from error
    if sum(sizes) != count or min(sizes, default=1) < 0:
        raise DataError(
            f"{groups}: its sizes add up to {sum(sizes)}, but {file.name} has {count} rows; use "
            "the file of groups that belongs to it"
        )
    return [f"{stem}-{n}" for n, size in enumerate(sizes, start=1) for _ in range(size)]


def _lines(file: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Every line of a file with its number, counted from 1."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; add it or fix the name")
    try:
        with open_bytes(file) as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.decode("utf-8")
    except (UnicodeError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{file}: cannot be read as svmlight: {error}; download it again"
        ) from error
