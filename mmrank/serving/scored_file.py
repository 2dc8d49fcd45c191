"""A file of lists scored in parts, each kept as it is done: a job that was killed goes on."""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mmrank.data.chunks import TableWriter, count_rows, ending, read_chunks
from mmrank.data.tables import DataError, as_ids
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
      layout: What the file's columns are.
      lists: The columns that tell one list from another; the rows of each stand together.
      reader: Reads the values.
      source, out: The file with the lists, and the one to write.
      rows: Rows of a part, about.
      top: Only so many of each list are written; None for all.
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
        self._known: dict[str, bool] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    @property
    def folder(self) -> pathlib.Path:
        """Where parts are kept until the output is whole."""
        return self._out.with_name(f".{self._out.name}.parts")

    def run(self) -> pathlib.Path:
        """The path of the output, written whole of its parts.

        Raises:
          OutputError: The folder of parts is another job's, or somebody's own.
          DataError: The file cannot be read, or the rows of a list do not stand together.
        """
        self._take_folder()
        try:
            parts = self._parts()
        except ValueError:  # the file has to be mended, and is another one then
            shutil.rmtree(self.folder)
            raise
        with whole_file(self._out) as partial, TableWriter(partial, ending(self._out)) as writer:
            for part in parts:
                writer.write(pq.read_table(part))
        shutil.rmtree(self.folder)
        return self._out

    def _parts(self) -> list[pathlib.Path]:
        """All parts in their order, those made that were not there."""
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
        """Makes the folder of parts, or takes up that of the same job."""
        job = self._fingerprint()
        file = self.folder / JOB
        if not self.folder.exists():
            self.folder.mkdir()
            write_whole(file, json.dumps(job, indent=2))
            return
        if not file.is_file():
            raise OutputError(
                f"{self.folder}: should hold parts of an unfinished output, and has no {JOB}; move "
                "it away"
            )
        before = json.loads(file.read_text(encoding="utf-8"))
        other = [key for key in job if before.get(key) != job[key]]
        if other:
            raise OutputError(
                f"{self.folder}: holds parts of another job ({', '.join(other)} differ); remove it "
                "to begin anew, or name another --out"
            )
        parts = len(list(self.folder.glob("part-*.parquet")))
        logger.info("going on after %d finished parts", parts)

    def _fingerprint(self) -> dict[str, Any]:
        """What parts depend on."""
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
        """Pieces of the file that end with a list, and what tells the lists in them apart.

        Raises:
          DataError: A list's rows do not stand together.
        """
        seen: set[int] = set()
        rest: pd.DataFrame | None = None
        first_row = 0
        for chunk in read_chunks(self._source, self._rows):
            chunk.index = pd.RangeIndex(first_row, first_row + len(chunk))
            first_row += len(chunk)
            for column in self._needed.difference(chunk.columns):
                chunk[column] = None  # JSON lines may leave it out of a whole piece
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
                    f"{self._source}, column {self._lists[0]!r}: row {frame.index[start] + 1} goes "
                    f"back to the list {name!r}; sort the file, so that a list's rows stand "
                    "together"
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
        columns: dict[str, Any] = {c: frame[c].to_numpy() for c in self._keep}
        columns |= {ROW: frame.index.to_numpy() + 1} if self._layout.item is None else {}
        columns |= {SCORE: found[SCORES], RANK: found["rank"]}
        columns |= {n: found[n] for n in self._ranker.tasks}
        made = pa.table({n: _array(v) for n, v in columns.items()})
        return made if self._top is None else made.filter(pa.array(found["rank"] <= self._top))

    def _count_unknown(self, column: pd.Series) -> None:
        """Counts rows of items that the export's catalogue lacks."""
        ids = as_ids(column).fillna("")
        new = [i for i in ids.unique() if i not in self._known]
        for start in range(0, len(new), 1024):
            some = new[start : start + 1024]
            known = self._ranker.run("lookup_items", {"items": np.array(some, object)})["known"]
            self._known.update(zip(some, map(bool, known), strict=True))
        self.counts["unknown"] += int((~ids.map(self._known).astype(bool)).sum())


def _array(values: Iterable[Any]) -> pa.Array:
    """A column whose type is the same in every part: what is no number is text."""
    array = np.asarray(values)
    if array.dtype != object:
        return pa.array(array)
    return pa.array([None if v is None or v != v else str(v) for v in array], pa.string())


def told(counts: Mapping[str, int], reader: ColumnReader, absent: Sequence[str]) -> list[str]:
    """What a user should know of a job: lines of warnings, none if all was there."""
    lines = [f"no column for {', '.join(absent)}: absent throughout"] if absent else []
    if counts["unknown"]:
        lines.append(
            f"{counts['unknown']:,} of {counts['scored']:,} candidates are not in the export's "
            "catalogue: everything about them is absent"
        )
    for name, count in reader.unusable.items():
        lines.append(f"{name}: {count:,} values cannot be used: absent")
    return lines
