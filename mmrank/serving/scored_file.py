"""Scores a file of lists in parts. Each finished part is kept, so a killed job can resume."""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mmrank.data.cells import as_ids
from mmrank.data.chunks import TableWriter, count_rows, ending, read_chunks
from mmrank.data.conversion import text_of
from mmrank.data.kinds import KINDS
from mmrank.data.kinds.base import ONE_TEXT, TEXTS
from mmrank.data.tables import DataError
from mmrank.outputs import OutputError, whole_file, write_whole
from mmrank.serving.ranker import SCORES, Ranker
from mmrank.serving.table_columns import ColumnReader
from mmrank.serving.table_layout import TableLayout, list_keys, score_table

logger = logging.getLogger(__name__)
JOB = "job.json"
SCORE, RANK, ROW = "score", "rank", "row"


class ScoredFile:
    """The job of scoring one file.

    Args:
      ranker: The export.
      layout: The roles of the file's columns.
      lists: The columns that identify a list; the rows of each list are consecutive.
      reader: Reads the values.
      source, out: The file with the lists, and the file to write.
      rows: The approximate number of rows of a part.
      top: The number of best candidates of each list to write; None for all.
      keep: Further columns of the file to write.
    """

    def __init__(
        self,
        ranker: Ranker,
        layout: TableLayout,
        lists: Sequence[str],
        reader: ColumnReader,
        source: pathlib.Path,
        out: pathlib.Path,
        rows: int,
        top: int | None = None,
        keep: Sequence[str] = (),
    ):
        self._ranker, self._layout, self._lists, self._reader = ranker, layout, lists, reader
        self._source, self._out, self._rows, self._top = source, out, rows, top
        named = [*lists, *([layout.item] if layout.item is not None else []), *keep]
        self._keep = tuple(dict.fromkeys(named))
        self._needed = {*self._keep, *layout.features.values()}
        inputs = ranker.inputs.columns
        words = {
            c
            for n, c in layout.features.items()
            if KINDS[inputs[n].kind].cells in (ONE_TEXT, TEXTS)
        }
        self._texts = words | {*lists, *([layout.item] if layout.item is not None else [])}
        self._known: dict[str, bool] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the parts until the output is complete."""
        return self._out.with_name(f".{self._out.name}.parts")

    def run(self) -> pathlib.Path:
        """Writes the output from its parts, whole or not at all, and returns its path.

        Raises:
          OutputError: The folder of parts belongs to another job, or is not a folder of parts.
          DataError: The file cannot be read, or the rows of a list are not consecutive.
        """
        self._take_folder()
        try:
            parts = self._parts()
        except ValueError:  # the file has to be fixed, and its parts differ after that
            shutil.rmtree(self.folder)
            raise
        with whole_file(self._out) as partial, TableWriter(partial, ending(self._out)) as writer:
            for part in parts:
                writer.write(pq.read_table(part))
        shutil.rmtree(self.folder)
        return self._out

    def _parts(self) -> list[pathlib.Path]:
        """Returns all parts in their order; makes those that are missing."""
        parts = []
        total = count_rows(self._source)
        with tqdm(total=total, desc="rows", unit=" rows", disable=None) as progress:
            for number, (frame, keys) in enumerate(self._whole_lists()):
                part = self.folder / f"part-{number:06d}.parquet"
                if not part.is_file():
                    table = self._scored(frame, keys)
                    with whole_file(part) as partial:
                        pq.write_table(table, partial)
                parts.append(part)
                progress.update(len(frame))
        if not parts:
            raise DataError(f"{self._source}: no rows")
        return parts

    def _take_folder(self) -> None:
        """Makes the folder of parts, or resumes the folder that the same job left."""
        job = self._fingerprint()
        file = self.folder / JOB
        if not self.folder.exists():
            self.folder.mkdir()
            write_whole(file, json.dumps(job, indent=2))
            return
        if not file.is_file():
            raise OutputError(
                f"{self.folder}: is named like a folder with parts of an unfinished output but "
                f"holds no {JOB}; move it away"
            )
        before = json.loads(file.read_text(encoding="utf-8"))
        other = [key for key in job if before.get(key) != job[key]]
        if other:
            raise OutputError(
                f"{self.folder}: holds parts of another job ({', '.join(other)} differ); remove "
                "it to start again, or name another --out"
            )
        parts = len(list(self.folder.glob("part-*.parquet")))
        logger.info("continuing after %d finished parts", parts)

    def _fingerprint(self) -> dict[str, Any]:
        """Returns everything that the parts depend on, as JSON."""
        about = self._source.stat()
        graph = (self._ranker.folder / "saved_model.pb").read_bytes()
        index = self._ranker.folder / "variables" / "variables.index"
        weights = index.read_bytes() if index.is_file() else b""
        return {
            "model": hashlib.sha256(graph + weights).hexdigest(),
            "order": None if self._ranker.order is None else self._ranker.order.text,
            "lists": [str(self._source.resolve()), about.st_size, about.st_mtime_ns],
            "columns": [list(self._lists), self._layout.item, dict(self._layout.features)],
            "output": [self._rows, self._top, list(self._keep)],
        }

    def _whole_lists(self) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Yields pieces of the file that end at the end of a list, with the list key of each row.

        Raises:
          DataError: The rows of a list are not consecutive.
        """
        seen: set[int] = set()
        rest: pd.DataFrame | None = None
        first_row = 0
        for chunk in read_chunks(self._source, self._rows, self._texts):
            chunk.index = pd.RangeIndex(first_row, first_row + len(chunk))
            first_row += len(chunk)
            for column in self._needed.difference(chunk.columns):
                chunk[column] = None  # a piece of JSON lines can lack a column
            frame = chunk if rest is None else pd.concat([rest, chunk])
            if frame.empty:
                continue
            keys = list_keys(frame, self._lists)
            other = np.flatnonzero(keys != keys[-1])
            end = int(other[-1]) + 1 if len(other) else 0
            if end:
                yield self._checked(frame.iloc[:end], keys[:end], seen)
            rest = frame.iloc[end:]
        if rest is not None and len(rest):
            yield self._checked(rest, list_keys(rest, self._lists), seen)

    def _checked(
        self, frame: pd.DataFrame, keys: np.ndarray, seen: set[int]
    ) -> tuple[pd.DataFrame, np.ndarray]:
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        for start in starts:
            key = hash(keys[start])
            if key in seen:
                name = keys[start].replace("\x1f", ", ")
                raise DataError(
                    f"{self._source}, column {self._lists[0]!r}: row {frame.index[start] + 1} "
                    f"returns to the list {name!r}; sort the file so that the rows of each list "
                    "are together"
                )
            seen.add(key)
        self.counts["lists"] += len(starts)
        self.counts["rows"] += len(frame)
        return frame, keys

    def _scored(self, frame: pd.DataFrame, keys: np.ndarray) -> pa.Table:
        if self._layout.item is not None:
            self._count_unknown(frame[self._layout.item])
        self.counts["scored"] += len(frame)
        found = score_table(self._ranker, self._layout, frame, keys, self._reader)
        columns: dict[str, Any] = {c: frame[c] for c in self._keep}
        columns |= {ROW: frame.index.to_numpy() + 1} if self._layout.item is None else {}
        columns |= {SCORE: found[SCORES], RANK: found["rank"]}
        columns |= {n: found[n] for n in self._ranker.tasks}
        made = pa.table({n: _array(v) for n, v in columns.items()})
        return made if self._top is None else made.filter(pa.array(found["rank"] <= self._top))

    def _count_unknown(self, column: pd.Series) -> None:
        """Counts the rows whose items are not in the export's catalogue."""
        ids = as_ids(column).fillna("")
        new = [i for i in ids.unique() if i not in self._known]
        for start in range(0, len(new), 1024):
            some = new[start : start + 1024]
            known = self._ranker.run("lookup_items", {"items": np.array(some, object)})["known"]
            self._known.update(zip(some, map(bool, known), strict=True))
        self.counts["unknown"] += int((~ids.map(self._known).astype(bool)).sum())


def _array(values: np.ndarray | pd.Series) -> pa.Array:
    """Returns a column whose type is the same in every part: objects become texts."""
    if values.dtype != object:
        return pa.array(values, from_pandas=True)
    texts = (text_of(v) for v in values)
    return pa.array([v if v is None else str(v) for v in texts], pa.string())


def job_warnings(
    counts: Mapping[str, int], reader: ColumnReader, absent: Sequence[str]
) -> list[str]:
    """Returns the warnings of a job, one a line; none if every column and value was usable."""
    lines = [f"no column for {', '.join(absent)}: absent in every row"] if absent else []
    if counts["unknown"]:
        lines.append(
            f"{counts['unknown']:,} of {counts['scored']:,} candidates are not in the export's "
            "catalogue: all their features are absent"
        )
    for name, count in reader.unusable.items():
        lines.append(f"{name}: {count:,} values cannot be used and count as absent")
    return lines
