"""Reads raw values of features for the signatures, with the code that training uses."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.kinds import KINDS
from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError
from mmrank.encoders import FeatureKind
from mmrank.encoders.base import texts
from mmrank.encoders.collaborative import Collaborative
from mmrank.encoders.reviews import Reviews
from mmrank.features import MODEL_SIDES, Features, make_features
from mmrank.schema import Schema
from mmrank.serving.card import Card

READ_ROWS = 256  # rows whose media are in memory at the same time


@dataclasses.dataclass(frozen=True)
class Reader:
    """What is needed to read raw values; small, so that it can be sent to every worker.

    Attributes:
      schema: The dataset's schema.
      media: Folder or archive of the media files; None if there are none.
      encoders: Options of features and kinds, as in `model.encoders` of a config.
      drop: Features to omit.
    """

    schema: Schema
    media: pathlib.Path | None = None
    encoders: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks the names, and that every feature can be read row by row.

        Raises:
          ConfigError: Options name an unknown feature or kind.
          DataError: A feature is computed from all events, or the media do not exist.
        """
        for kind in self.features.columns.values():
            if isinstance(kind, Collaborative):
                raise DataError(
                    f"feature {kind.name}: of kind collaborative, which is computed from all "
                    f"events at once and not in this job; omit it with --drop {kind.name}"
                )
        if any(k.is_media for k in self.features.columns.values()):
            _ = self.store

    @functools.cached_property
    def features(self) -> Features:
        """The features, not fitted."""
        return make_features(self.schema, self.encoders, self.drop)

    @functools.cached_property
    def store(self) -> MediaStore | None:
        """The media files."""
        return None if self.media is None else MediaStore(self.media)

    def of_side(self, *sides: str) -> list[FeatureKind]:
        """The features of these sides that are read from a column."""
        return self.features.of_side(*sides)

    def __getstate__(self) -> dict[str, Any]:
        # Open files and TensorFlow's objects cannot be sent to workers.
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def raw(
        self, kinds: Sequence[FeatureKind], rows: pd.DataFrame
    ) -> Iterator[tuple[int, int, dict[str, tuple[np.ndarray, np.ndarray]]]]:
        """Raw values [N] and presence [N] by feature, some rows at a time: (first row, N, values).

        Args:
          kinds: Features to read.
          rows: Rows with the columns of these features.
        """
        for start in range(0, len(rows), READ_ROWS):
            part = rows.iloc[start : start + READ_ROWS]
            values = {k.name: k.read(part[k.feature.column], self.store) for k in kinds}
            yield start, len(part), values


def broken_media(kinds: Sequence[FeatureKind], rows: pd.DataFrame, raw: Mapping[str, Any]) -> int:
    """The number of media files of some rows that could not be used."""
    return sum(
        int((texts(rows[k.feature.column]) != "").sum()) - int(raw[k.name][1].sum())
        for k in kinds
        if k.is_media
    )


def reader_of_card(schema: Schema, media: pathlib.Path | None, card: Card) -> Reader:
    """The reader of an export's inputs.

    Args:
      schema: The export's schema.
      media: Folder or archive of the media files.
      card: The export's card.
    """
    options = {n: KINDS[c.kind].options(c.facts) for n, c in card.inputs.columns.items()}
    taken = set(card.names("item"))
    # Features of other sides are not read.
    drop = [f.name for f in schema.side(*MODEL_SIDES) if f.name not in taken]
    return Reader(schema, media, options, tuple(drop))


def newest_reviews(reader: Reader, rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """The time of the latest review of some rows by feature, from which ages count."""
    for kind in reader.of_side("item"):
        if isinstance(kind, Reviews):
            newest = kind.newest(rows[kind.feature.column])
            if newest is not None:
                yield kind.name, newest


def aged_from(kinds: Sequence[FeatureKind], newest: Mapping[str, float]) -> None:
    """Makes the ages of reviews count from the latest review of the whole table."""
    for kind in kinds:
        if isinstance(kind, Reviews):
            kind.now = newest.get(kind.name)
