"""What `mmrank.fit` gives: a ranker that scores DataFrames."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError, as_ids, load_dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.baselines import BASELINES
from mmrank.evaluation.compared import LEARNING, check_compared, compared_scores
from mmrank.evaluation.offline import evaluate_scores
from mmrank.evaluation.report import Report
from mmrank.evaluation.tasks import ranking_label
from mmrank.frames.columns import CATALOG, LISTS, Columns, check_column
from mmrank.frames.writing import first_of_each, write_frames
from mmrank.job import Finished
from mmrank.serving.many_lists import score_lists
from mmrank.serving.ranker import Ranker
from mmrank.serving.table_columns import ColumnReader
from mmrank.serving.table_layout import (
    Named,
    TableLayout,
    candidate_arrays,
    find_layout,
    list_keys,
    ranks,
    score_table,
)

logger = logging.getLogger(__name__)
SCORE, RANK = "score", "rank"


class FittedRanker:
    """A ranker that was fitted on DataFrames, and scores others by the same columns.

    Attributes:
      folder: The run, as `python -m mmrank.train` leaves it.
      export: The exported version; `mmrank.Ranker.load(export)` and servers read it.
      ranker: The same, loaded.
      report: Its figures on the test lists, against the baselines; None without such lists.
    """

    def __init__(
        self,
        columns: Columns,
        finished: Finished,
        media: str | os.PathLike[str] | None = None,
    ):
        self.folder, self.export = finished.run.folder, finished.export
        self.report = finished.report
        self.ranker = Ranker.load(finished.export)
        self._columns, self._run, self._media = columns, finished.run, media
        self._data = finished.run.data
        self._known = set(pd.read_parquet(self._data / CATALOG, columns=[columns.item]).iloc[:, 0])

    def __repr__(self) -> str:
        return f"FittedRanker({str(self.folder)!r})"

    def rank(
        self,
        query: Any = None,
        candidates: pd.DataFrame | Sequence[Any] = (),
        user: Any = None,
        history: Iterable[Any] | None = None,
    ) -> pd.DataFrame:
        """The candidates from best to worst, with `score` and `rank` beside their columns.

        Args:
          query: The text of the query, or a mapping of its columns.
          candidates: Item ids of the catalogue that it was fitted with, or rows with the items' own
            columns, as that catalogue has them; new products are fine.
          user: The shopper's id, or a mapping of its columns.
          history: What the shopper did, as `Ranker.rank` takes it.

        Raises:
          DataError: There is no candidate, or none that can be told.
          RankError: The query or the shopper does not fit.
        """
        if not isinstance(candidates, pd.DataFrame):
            candidates = pd.DataFrame({self._columns.item: list(candidates)})
        if candidates.empty:
            raise DataError("candidates: there is none; give at least one")
        layout = self._layout(candidates)
        reader, inputs = ColumnReader(self._reader()), self.ranker.inputs
        sides = {"query": query, "user": user}
        contexts: dict[str, np.ndarray] = {}
        for side, value in sides.items():
            contexts |= inputs.context(side, self._by_name(side, value))
        rows = candidate_arrays(inputs, layout, candidates, reader)
        offsets = np.array([0, len(candidates)])
        found = score_lists(self.ranker, contexts, rows, offsets, [history])
        self._tell(reader)
        scores = found.pop("scores")
        placed = candidates.assign(**found, **{SCORE: scores, RANK: ranks(scores, offsets)})
        return placed.sort_values(RANK, kind="stable")

    def score(self, lists: pd.DataFrame) -> np.ndarray:
        """Scores [rows] float32 of the candidates of some lists, in the order of the rows.

        Args:
          lists: A row per candidate, with the columns of the query and either item ids of the
            catalogue that it was fitted with or the items' own columns. Lists are told as in `fit`.

        Raises:
          DataError: A column is missing, or no candidate can be told.
        """
        if lists.empty:
            return np.zeros(0, np.float32)
        for key in self._columns.keys:
            check_column("lists", lists, key, "fit")
        layout, reader = self._layout(lists), ColumnReader(self._reader())
        keys = list_keys(lists, self._columns.keys)
        order = np.argsort(pd.factorize(keys)[0], kind="stable")
        found = score_table(self.ranker, layout, lists.iloc[order], keys[order], reader)
        self._tell(reader)
        scores = np.empty(len(lists), np.float32)
        scores[order] = found["scores"]
        return scores

    def evaluate(
        self,
        lists: pd.DataFrame,
        catalog: pd.DataFrame | None = None,
        baselines: Sequence[str] = tuple(BASELINES),
    ) -> Report:
        """The figures on other lists, all of them, as `python -m mmrank.evaluate` reports them.

        Args:
          lists: Like `judged` of `fit`, with its labels.
          catalog: Like `catalog` of `fit`; None for that one, or for the items' columns in `lists`
            where they stood there.
          baselines: What to compare with, as `evaluation.baselines` of a config has them. Peers
            learn from the lists that the ranker learned from.

        Raises:
          DataError: A column or an item is missing.
          ValueError: A name of `baselines` is not known.
        """
        check_compared(baselines)
        if catalog is None:
            catalog = pd.read_parquet(self._data / CATALOG)
            named = self._run.fitted.schema.media
            media: str | os.PathLike[str] | None = None if named is None else self._data / named
            if self._has_items(lists):
                catalog, media = first_of_each(lists, self._columns.item), self._media
        else:
            media = self._media
        columns = dataclasses.replace(self._columns, split=None)
        with tempfile.TemporaryDirectory(prefix="mmrank-") as made:
            folder = pathlib.Path(made) / "lists"
            write_frames(columns, lists, catalog, folder, media)
            table = pd.read_parquet(folder / LISTS).assign(split="test")
            table.to_parquet(folder / LISTS, index=False)
            dataset = checked_dataset(folder, training=False)
            rows = dataset.rows("test")
            scores = {"model": self._run.score(dataset, rows)}
            settings = self._run.config.evaluation
            label = ranking_label(dataset, self._run.config)
            compared = compared_scores(
                self._run,
                dataset,
                rows,
                baselines,
                label=label,
                trials=settings.peer_trials,
                seed=self._run.config.seed,
                dense=None if settings.dense is None else pathlib.Path(settings.dense),
                learned=load_dataset(self._data) if set(baselines) & set(LEARNING) else None,
            )
            scores |= compared.scores
            report = evaluate_scores(
                dataset,
                rows,
                scores,
                split="given",
                label=label,
                no_relevant=settings.no_relevant,
                relevant_grade=settings.relevant_grade,
            )
            return dataclasses.replace(report, costs=compared.costs)

    def _layout(self, frame: pd.DataFrame) -> TableLayout:
        """What the columns are: the items' own where all are there, else ids."""
        raw = self._has_items(frame)
        schema, columns = self._run.fitted.schema, list(frame.columns)
        layout = find_layout(self.ranker.card, schema, columns, "candidates", Named(raw=raw))
        of_items = [n for n in layout.absent if n in self.ranker.card.names("item")]
        if of_items:
            logger.warning("candidates: no column of %s: absent", ", ".join(of_items))
        if layout.item is not None:
            self._check_known(frame[layout.item])
        return layout

    def _has_items(self, frame: pd.DataFrame) -> bool:
        """Whether a table has all columns of items."""
        wanted = [f.column for f in self._run.fitted.schema.side("item")]
        return all(c in frame.columns for c in wanted)

    def _check_known(self, ids: pd.Series) -> None:
        unknown = ~as_ids(ids).isin(self._known).to_numpy()
        if unknown.all():
            own = ", ".join(f.column for f in self._run.fitted.schema.side("item"))
            raise DataError(
                f"candidates: none of the items is in the catalogue that the ranker was fitted "
                f"with; give their own columns ({own})"
            )
        if unknown.any():
            logger.warning("%s candidates are not in the catalogue: absent", f"{unknown.sum():,}")

    def _by_name(self, side: str, value: Any) -> Any:
        """A mapping of columns as one of features; anything else as it is."""
        if not isinstance(value, Mapping):
            return value
        names = {f.column: f.name for f in self._run.fitted.schema.side(side)}
        return {names.get(key, key): v for key, v in value.items()}

    def _reader(self) -> Callable[[str], bytes | None]:
        """How a path in a table is read."""
        if self._media is not None:
            return MediaStore(pathlib.Path(self._media).absolute()).read
        return _read_path

    @staticmethod
    def _tell(reader: ColumnReader) -> None:
        for name, count in reader.unusable.items():
            logger.warning("%s: %s values cannot be used and count as absent", name, f"{count:,}")


def _read_path(name: str) -> bytes | None:
    try:
        return pathlib.Path(name).read_bytes()
    except OSError:
        return None
