"""The ranker that `mmrank.fit` returns, which scores DataFrames."""

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

from mmrank.data.cells import as_ids
from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError, load_dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.baselines import BASELINES
from mmrank.evaluation.compared import DENSE, any_learns, check_compared, compared_scores
from mmrank.evaluation.dense import check_dense
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
    """A ranker that was fitted on DataFrames, and scores other frames with the same columns.

    Attributes:
      folder: The run, as `python -m mmrank.train` writes it.
      export: The folder of the exported version, for `mmrank.Ranker.load(export)` and servers.
      ranker: The exported version, loaded.
      report: Figures on the test lists, compared with the baselines; None without such lists.
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
        """Returns the candidates from best to worst, with the further columns `score` and `rank`.

        Args:
          query: The text of the query, or a mapping of its columns.
          candidates: Item ids of the catalogue that the ranker was fitted with, or rows with the
            same item columns as that catalogue; these may be new products.
          user: The user's id, or a mapping of the user's columns.
          history: The user's events, as `Ranker.rank` takes them.

        Raises:
          DataError: There are no candidates, or none is in the catalogue.
          RankError: The query or the user does not fit, or the candidates have neither ids nor the
            items' columns.
        """
        if not isinstance(candidates, pd.DataFrame):
            candidates = pd.DataFrame({self._columns.item: list(candidates)})
        if candidates.empty:
            raise DataError("candidates: the list is empty; give at least one")
        layout = self._layout(candidates)
        reader, inputs = ColumnReader(self._reader()), self.ranker.inputs
        sides = {"query": query, "user": user}
        contexts: dict[str, np.ndarray] = {}
        for side, value in sides.items():
            contexts |= inputs.context(side, self._by_name(side, value))
        rows = candidate_arrays(inputs, layout, candidates, reader)
        offsets = np.array([0, len(candidates)])
        found = score_lists(self.ranker, contexts, rows, offsets, [history])
        self._log_unusable(reader)
        scores = found.pop("scores")
        placed = candidates.assign(**found, **{SCORE: scores, RANK: ranks(scores, offsets)})
        return placed.sort_values(RANK, kind="stable")

    def score(self, lists: pd.DataFrame) -> np.ndarray:
        """Returns scores [rows] float32 of the candidates of some lists, in the order of the rows.

        Args:
          lists: A row per candidate, with the columns of the query and either item ids of the
            catalogue that the ranker was fitted with or the items' own columns. Lists are
            identified by the same columns as in `fit`.

        Raises:
          DataError: A column is missing, or no candidate is in the catalogue.
        """
        if lists.empty:
            return np.zeros(0, np.float32)
        for key in self._columns.keys:
            check_column("lists", lists, key, "fit")
        layout, reader = self._layout(lists), ColumnReader(self._reader())
        keys = list_keys(lists, self._columns.keys)
        order = np.argsort(pd.factorize(keys)[0], kind="stable")
        found = score_table(self.ranker, layout, lists.iloc[order], keys[order], reader)
        self._log_unusable(reader)
        scores = np.empty(len(lists), np.float32)
        scores[order] = found["scores"]
        return scores

    def evaluate(
        self,
        lists: pd.DataFrame,
        catalog: pd.DataFrame | None = None,
        baselines: Sequence[str] = tuple(BASELINES),
    ) -> Report:
        """Returns figures on all of some other lists, as `python -m mmrank.evaluate` reports them.

        Args:
          lists: Like `judged` of `fit`, with its labels.
          catalog: Like `catalog` of `fit`; None for the items' columns in `lists` if it has all of
            them, else for the catalogue of `fit`.
          baselines: Names of the scorers to compare with, as in `evaluation.baselines` of a config.
            Peers learn from the lists that the ranker learned from.

        Raises:
          DataError: A column or an item is missing.
          ValueError: A name in `baselines` is unknown.
        """
        check_compared(baselines)
        settings = self._run.config.evaluation
        if DENSE in baselines:
            check_dense(self._run.fitted, settings.dense)
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
            label = ranking_label(dataset, self._run.config)
            compared = compared_scores(
                self._run,
                dataset,
                rows,
                baselines,
                trials=settings.peer_trials,
                seed=self._run.config.seed,
                dense=None if settings.dense is None else pathlib.Path(settings.dense),
                learned=load_dataset(self._data) if any_learns(baselines) else None,
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
        """Returns the roles of the columns: item columns if all of them exist, else item ids."""
        raw = self._has_items(frame)
        schema, columns = self._run.fitted.schema, list(frame.columns)
        layout = find_layout(self.ranker.card, schema, columns, "candidates", Named(raw=raw))
        of_items = [n for n in layout.absent if n in self.ranker.card.names("item")]
        if of_items:
            logger.warning("candidates: no column for %s: absent in every row", ", ".join(of_items))
        if layout.item is not None:
            self._check_known(frame[layout.item])
        return layout

    def _has_items(self, frame: pd.DataFrame) -> bool:
        """Returns whether a table has all columns of items."""
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
            logger.warning(
                "%s candidates are not in the catalogue: all their features are absent",
                f"{unknown.sum():,}",
            )

    def _by_name(self, side: str, value: Any) -> Any:
        """Returns a mapping by column as a mapping by feature; other values are unchanged."""
        if not isinstance(value, Mapping):
            return value
        names = {f.column: f.name for f in self._run.fitted.schema.side(side)}
        return {names.get(key, key): v for key, v in value.items()}

    def _reader(self) -> Callable[[str], bytes | None]:
        """Returns a function that reads the file at a path in a table."""
        if self._media is not None:
            return MediaStore(pathlib.Path(self._media).absolute()).read
        return _read_path

    @staticmethod
    def _log_unusable(reader: ColumnReader) -> None:
        for name, count in reader.unusable.items():
            logger.warning("%s: %s values cannot be used and count as absent", name, f"{count:,}")


def _read_path(name: str) -> bytes | None:
    try:
        return pathlib.Path(name).read_bytes()
    except OSError:
        return None
