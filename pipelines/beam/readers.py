"""Raw values of features as the signatures take them, read by the code that training reads with."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.media import MediaStore
from mmrank.data.tables import DataError
from mmrank.encoders import FeatureKind
from mmrank.encoders.base import texts
from mmrank.encoders.collaborative import Collaborative
from mmrank.encoders.reviews import Reviews
from mmrank.features import MODEL_SIDES, Features, make_features
from mmrank.schema import Schema
from mmrank.serving.card import Card

READ_ROWS = 256  # whose media are in memory at a time


@dataclasses.dataclass(frozen=True)
class Reader:
    """What it takes to read raw values; small, so that it travels to every worker.

    Attributes:
      schema: The dataset's schema.
      media: Folder or archive of the media files; None for a dataset without.
      encoders: Options of features and kinds, as in `model.encoders` of a config.
      drop: Features to leave out.
    """

    schema: Schema
    media: pathlib.Path | None = None
    encoders: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks the names in it, and that every feature can be read row by row.

        Raises:
          ConfigError: Options name something that there is not.
          DataError: A feature is computed from all events, or the media are not there.
        """
        for kind in self.features.columns.values():
            if isinstance(kind, Collaborative):
                raise DataError(
                    f"feature {kind.name}: of kind collaborative, which is computed from all "
                    f"events at once and not in this job; leave it out with --drop {kind.name}"
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
        """The features of these sides that stand in a column."""
        return self.features.of_side(*sides)

    def __getstate__(self) -> dict[str, Any]:
        # What was made of it stays behind: open files and TensorFlow's objects do not travel.
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def raw(
        self, kinds: Sequence[FeatureKind], rows: pd.DataFrame
    ) -> Iterator[tuple[int, int, dict[str, tuple[np.ndarray, np.ndarray]]]]:
        """Raw values [N] and presence [N] by feature, some rows at a time: (first row, N, values).

        Args:
          kinds: What to read.
          rows: Rows with the columns of these features.
        """
        for start in range(0, len(rows), READ_ROWS):
            part = rows.iloc[start : start + READ_ROWS]
            values = {k.name: k.read(part[k.feature.column], self.store) for k in kinds}
            yield start, len(part), values


def broken_media(kinds: Sequence[FeatureKind], rows: pd.DataFrame, raw: Mapping[str, Any]) -> int:
    """How many named media files of some rows could not be used."""
    return sum(
        int((texts(rows[k.feature.column]) != "").sum()) - int(raw[k.name][1].sum())
        for k in kinds
        if k.is_media
    )


def reader_of_card(schema: Schema, media: pathlib.Path | None, card: Card) -> Reader:
    """The reader of what an export takes.

    Args:
      schema: That of the export.
      media: Folder or archive of the media files.
      card: The export's card.
    """
    options: dict[str, Any] = {}
    for name, column in card.inputs.columns.items():
        if column.strip is not None:
            options[name] = dict(zip(("frames", "height", "width"), column.strip, strict=True))
        if column.wave is not None:
            options[name] = dict(zip(("rate", "seconds"), column.wave, strict=True))
        if column.reviews is not None:
            keys = {f"{role}_key": key for role, key in column.reviews["keys"].items()}
            options[name] = {"max_reviews": column.reviews["most"], **keys}
    taken = set(card.names("item"))
    # Of other sides nothing is read.
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
    """Lets reviews count their ages from the latest of the whole table."""
    for kind in kinds:
        if isinstance(kind, Reviews):
            kind.now = newest.get(kind.name)
