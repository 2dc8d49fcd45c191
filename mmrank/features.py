"""The features of a run: one object per feature, fitted on training data and stored as JSON."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.collaborative.snapshots import AsOfScores
from mmrank.config import ConfigError, Cross
from mmrank.data.batches import HistoryArrays, ListArrays
from mmrank.data.checks import as_numbers
from mmrank.data.kinds import KINDS
from mmrank.data.media import open_media
from mmrank.data.run_state import DAMAGED
from mmrank.data.runs import run_starts
from mmrank.data.tables import Dataset
from mmrank.encoders import HISTORY, FeatureKind, encoder_of
from mmrank.encoders.behavior import History
from mmrank.encoders.collaborative import Collaborative
from mmrank.encoders.frozen import Freezable, Frozen, Tower
from mmrank.matching.extras import check_extras
from mmrank.matching.pieces import check_read
from mmrank.matching.plan import Matching
from mmrank.models import FeatureEncoder, present_name
from mmrank.outputs import UserError, one_line, read_json, write_whole
from mmrank.schema import Feature, Schema, SchemaError, did_you_mean

logger = logging.getLogger(__name__)
MODEL_SIDES = ("item", "query", "user", "pair")
MATCHING = "match:"  # key of the matching in the fitted states; no feature can have this name


@dataclasses.dataclass(frozen=True)
class Features:
    """Every feature that a model reads, in the schema's order.

    Attributes:
      schema: The dataset's schema.
      columns: The features that have a column, and collaborative scores, by name.
      history: The event history, or None.
      matching: How queries and candidates are compared word by word and read together; None for a
        ranker that does neither.
    """

    schema: Schema
    columns: Mapping[str, FeatureKind]
    history: History | None
    matching: Matching | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all features, the history last."""
        return (*self.columns, *([self.history.name] if self.history else []))

    def of_side(self, *sides: str) -> list[FeatureKind]:
        """The column features of these sides."""
        return [k for k in self.columns.values() if k.feature.side in sides]

    def fit(self, dataset: Dataset) -> None:
        """Fits every feature on the training lists: vocabularies, means, event types.

        Features that share an encoder are fitted on the values of all of them.
        """
        train = dataset.rows("train")
        values = {}
        for kind in self.columns.values():
            if isinstance(kind, Collaborative):
                kind.fit_rows(dataset, train)
            else:
                values[kind.name] = self._training_values(kind, dataset, train)
        types = None
        if self.history is not None:
            assert dataset.events is not None
            assert dataset.schema.events is not None
            column = dataset.schema.events.type
            types = None if column is None else dataset.events[column]
        catalog = {
            k.name: dataset.catalog[k.feature.column]
            for k in self.of_side("item")
            if k.name in values
        }
        self.fit_values(values, types, catalog)

    def fit_values(
        self,
        values: Mapping[str, pd.Series],
        types: pd.Series | None,
        catalog: Mapping[str, pd.Series] | None = None,
    ) -> None:
        """Fits features on given values, one for each candidate.

        Args:
          values: Columns by feature; a feature that is left out is fitted elsewhere.
          types: Types of events, for the history; None for events without types.
          catalog: Columns of the items, one value for each item, by which words are weighted; None
            to use the candidates' columns.
        """
        if self.matching is not None:
            columns = {**values, **(catalog or {})}
            self.matching.fit(
                self.of_side("query"), self.of_side("item"), lambda kind: columns[kind.name]
            )
        groups: dict[str, list[FeatureKind]] = {}
        for name in values:
            groups.setdefault(_shared_key(self.columns[name]), []).append(self.columns[name])
        for members in groups.values():
            read = [k.corpus(values[k.name]) for k in members]
            first, *others = (k.core for k in members)
            first.fit(pd.concat(read))
            for other in others:
                other.restore(first.state())
        if self.history is not None:
            self.history.fit(types)

    def _training_values(
        self, kind: FeatureKind, dataset: Dataset, train: pd.DataFrame
    ) -> pd.Series:
        if kind.feature.side == "item":
            return dataset.catalog[kind.feature.column].iloc[train["_item"].to_numpy()]
        return train[kind.feature.column]

    @property
    def read(self) -> tuple[Feature, ...]:
        """All features that are read of a dataset, as the schema describes them."""
        columns = [k.feature for k in self.columns.values()]
        history = [f for f in self.schema.features if self.history and f.name == self.history.name]
        return (*columns, *history)

    @property
    def collaborative(self) -> Collaborative | None:
        """The first feature of collaborative scores, or None."""
        kinds = (k for k in self.columns.values() if isinstance(k, Collaborative))
        return next(kinds, None)

    def as_of(self, dataset: Dataset) -> AsOfScores | None:
        """The collaborative scores of a dataset's lists; None without such a feature."""
        kind = self.collaborative
        return None if kind is None else kind.as_of(dataset)

    def item_arrays(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """The item feature arrays [items, ...] of a whole catalogue, including presence."""
        return self._of(self.of_side("item"), dataset.catalog, dataset)

    def arrays(
        self,
        dataset: Dataset,
        rows: pd.DataFrame,
        items: Mapping[str, np.ndarray] | None = None,
    ) -> ListArrays:
        """The arrays of some of a dataset's lists.

        Args:
          dataset: The dataset; it need not be the one that the features were fitted on.
          rows: Rows of `dataset.lists`; each list's rows are adjacent.
          items: What `item_arrays` returned for this dataset, to save computing it again.
        """
        starts = run_starts(rows[dataset.schema.lists.list].to_numpy())
        first = rows.iloc[starts]
        grade = dataset.schema.label("grade")
        history, users = self.history_arrays(dataset, first)
        return ListArrays(
            items=self.item_arrays(dataset) if items is None else items,
            contexts=self._of(self.of_side("query", "user"), first, dataset),
            pairs=self._of(self.of_side("pair"), rows, dataset),
            offsets=np.r_[starts, len(rows)].astype(np.int64),
            candidates=rows["_item"].to_numpy(np.int32),
            grades=(
                np.zeros(len(rows), np.float32)
                if grade is None
                else rows[grade.column].to_numpy(np.float32)
            ),
            users=users,
            times=(
                first["_time"].to_numpy(np.float64)
                if "_time" in first
                else np.full(len(first), np.nan)
            ),
            history=history,
            labels=row_labels(dataset.schema, rows),
        )

    def _of(
        self, kinds: Sequence[FeatureKind], table: pd.DataFrame, dataset: Dataset
    ) -> dict[str, np.ndarray]:
        media = open_media(dataset) if dataset.schema.media is not None else None
        arrays: dict[str, np.ndarray] = {}
        for kind in kinds:
            if isinstance(kind, Collaborative):
                values, present = kind.vectors(dataset, table)
            else:
                values, present = kind.arrays(table[kind.feature.column], media)
            arrays[kind.name], arrays[present_name(kind.name)] = values, present
            if self.matching is not None and kind.feature.column in table:
                arrays |= self.matching.arrays(kind, table[kind.feature.column])
        return arrays

    def history_arrays(
        self, dataset: Dataset, first: pd.DataFrame
    ) -> tuple[HistoryArrays | None, np.ndarray]:
        """All events of a dataset, and each list's user number among them, [lists] int64.

        Without a history feature the events are None; an unknown user's number is −1.

        Args:
          dataset: The dataset.
          first: One row of each list.
        """
        no_users = np.full(len(first), -1, np.int64)
        if self.history is None:
            return None, no_users
        events, schema = dataset.events, dataset.schema
        if events is None or schema.events is None or schema.lists.user is None:
            empty = np.zeros(0, np.int32)
            none = HistoryArrays(
                self.history.name,
                self.history.options.length,
                np.zeros(1, np.int64),
                empty,
                empty,
                np.zeros(0),
            )
            return none, no_users
        known = events[(events["_item"] >= 0) & events[schema.events.user].notna()]
        codes, names = pd.factorize(known[schema.events.user])
        types = None if schema.events.type is None else known[schema.events.type]
        history = HistoryArrays(
            name=self.history.name,
            length=self.history.options.length,
            starts=np.searchsorted(codes, np.arange(len(names) + 1)).astype(np.int64),
            items=known["_item"].to_numpy(np.int32),
            types=self.history.numbers(types, len(known)),
            times=known["_time"].to_numpy(np.float64),
        )
        users = pd.Series(np.arange(len(names)), index=names).reindex(first[schema.lists.user])
        return history, users.fillna(-1).to_numpy().astype(np.int64)

    def encoders(self, width: int, hide: Mapping[str, float] | None = None) -> list[FeatureEncoder]:
        """An encoder for every column feature; features that share an encoder get the same layer.

        Args:
          width: D, the width that encoders should aim at.
          hide: Probability that training hides an item feature, by name; features that were left
            out of the model are ignored.

        Raises:
          ConfigError: `hide` names something that is not an item feature.
        """
        hide = dict(hide or {})
        known = {f.name for f in self.schema.side("item")}
        for name in hide:
            if name not in known:
                raise ConfigError(
                    f"model.modality_dropout: unknown item feature {name!r}"
                    f"{did_you_mean(name, known)}"
                )
        shared: dict[str, Any] = {}
        made = []
        for kind in self.columns.values():
            key = _shared_key(kind)
            if key not in shared:
                shared[key] = kind.core.encoder(width)
            made.append(
                FeatureEncoder(
                    kind.name,
                    kind.feature.side,
                    kind.input_spec(),
                    kind.around(shared[key]),
                    float(hide.get(kind.name, 0.0)),
                    kind.as_numbers if kind.plain else None,
                    kind.unnormed,
                    kind.space,
                )
            )
        return made

    def save(self, file: pathlib.Path) -> None:
        """Writes the fitted states atomically."""
        states = {n: k.state() for n, k in self.columns.items()}
        if self.history is not None:
            states[self.history.name] = self.history.state()
        if self.matching is not None:
            states[MATCHING] = self.matching.state()
        write_whole(file, json.dumps(states, ensure_ascii=False))

    def load(self, file: pathlib.Path) -> None:
        """Restores what `save` wrote.

        Raises:
          ConfigError: The file is damaged, or fits another config.
        """
        states = read_json(file, DAMAGED)
        try:
            for name, kind in self.columns.items():
                kind.restore(states[name])
            if self.history is not None:
                self.history.restore(states[self.history.name])
            if self.matching is not None:
                self.matching.restore(states[MATCHING])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise ConfigError(f"{file}: damaged: {one_line(error)}; {DAMAGED}") from error


def row_labels(schema: Schema, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The labels of some rows of the lists by name, [rows] float32, NaN where unknown."""
    return {
        f.name: as_numbers(rows[f.column]).astype(np.float32)
        for f in schema.side("label")
        if f.column in rows
    }


def make_features(
    schema: Schema,
    encoders: Mapping[str, Any],
    drop: Sequence[str] = (),
    cache: pathlib.Path | None = None,
    match: bool = False,
    cross: Cross | None = None,
    match_extra: Sequence[str] = (),
) -> Features:
    """The features of a schema, not fitted yet.

    Args:
      schema: The dataset's schema.
      encoders: Options by feature name or by kind; those by feature name take precedence.
      drop: Names of features to leave out.
      cache: Where the embeddings of frozen encoders are stored; None keeps them in memory.
      match: Whether queries and candidates are compared word by word.
      cross: Options of a cross-encoder that reads both together; None without one.
      match_extra: Names of further match features.

    Raises:
      SchemaError: A feature's kind is unknown, or there are two histories.
      ConfigError: Options, `drop` or `cross` name something that does not exist, or a feature that
        further match features need does not exist.
    """
    wanted = list(schema.side(*MODEL_SIDES))
    known = {f.name for f in wanted}
    for name in drop:
        if name not in known:
            raise ConfigError(f"model.drop: unknown feature {name!r}{did_you_mean(name, known)}")
    for key in encoders:
        if key not in known | {f.kind for f in wanted} | {*KINDS}:
            raise ConfigError(
                f"model.encoders: {key!r} is not a feature or a kind"
                f"{did_you_mean(key, known | {*KINDS})}"
            )
    columns: dict[str, FeatureKind] = {}
    towers: dict[str, Tower] = {}
    history: History | None = None
    for feature in wanted:
        if feature.name in drop:
            continue
        options = {**(encoders.get(feature.kind) or {}), **(encoders.get(feature.name) or {})}
        if feature.kind == HISTORY:
            if history is not None:
                raise SchemaError(f"feature {feature.name}: a schema can have at most one history")
            history = History(feature, options)
        elif feature.kind in KINDS:
            kind = encoder_of(feature.kind)(feature, options)
            if isinstance(kind, Freezable) and kind.frozen:
                tower = towers.setdefault(kind.sharing() or f"alone:{kind.name}", Tower(kind))
                kind = Frozen(kind, tower, cache)
            columns[feature.name] = kind
        else:
            raise SchemaError(
                f"feature {feature.name}: unknown kind {feature.kind!r}"
                f"{did_you_mean(feature.kind, KINDS)}"
            )
    if cross is not None:
        check_read(cross, columns)
    if match:
        check_extras(match_extra, columns)
    matching = Matching(match, cross, match_extra) if match or cross is not None else None
    return Features(schema, columns, history, matching)


def _shared_key(kind: FeatureKind) -> str:
    """A key that features of one encoder share; frozen and trained features never share one."""
    core = kind.core
    return f"{type(core).__name__}:{core.sharing() or kind.name}"
