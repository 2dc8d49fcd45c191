"""A request in Python values as the tensors that an export takes, checked value by value."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.attributes import attribute_lines
from mmrank.data.reviews import ReviewKeys, pack, read_reviews
from mmrank.outputs import shown
from mmrank.schema import did_you_mean
from mmrank.serving.files import FileForm, FileProblem, TakenFile, taken

Arrays = dict[str, np.ndarray]
EVENT = ("item", "type", "age_days")
MOST_DAYS = 100_000  # of an event's age; seconds since 1970 are more


class RankError(ValueError):
    """A request or an export that cannot be used; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One feature that an export takes.

    Attributes:
      name, kind, side: As in the schema.
      dtype: `string` or `float32`.
      media: Whether its value is a file's bytes.
      separator: Between the words of one text, where the feature is a set of words.
      reviews: Where the feature is reviews: `most`, the number kept, and `keys`, what the fields
        of a review are called.
      strip: Frames, height and width of the strip that the graph takes in place of a clip.
      wave: Rate and longest seconds of the WAV that the graph takes in place of a recording.
      attributes: Whether the value is attributes, which the graph takes as lines.
    """

    name: str
    kind: str
    side: str
    dtype: str
    media: bool
    separator: str | None = None
    reviews: Mapping[str, Any] | None = None
    strip: Sequence[int] | None = None
    wave: tuple[int, float] | None = None
    attributes: bool = False

    @property
    def form(self) -> FileForm:
        """What the graph takes in place of a file."""
        return FileForm(self.kind, self.strip, self.wave)

    def raw(self, value: Any, where: str) -> Any:
        """The value as the graph takes it; None if it is absent.

        Raises:
          RankError: The value is of a wrong type, or a file that cannot be used.
        """
        what = f"{where}: {self.name}"
        if self.reviews is not None:
            return _packed(value, self.reviews, what)
        if self.attributes:
            return _lines(value, what)
        if self.separator is not None and isinstance(value, (list, tuple, np.ndarray)):
            value = self.separator.join(str(v) for v in value)
        if value is None or value is pd.NA or (_is_number(value) and math.isnan(value)):
            return None
        if self.media:
            return bytes(value) if isinstance(value, TakenFile) else self._file(value, what)
        if self.dtype == "string":
            if not isinstance(value, str) and not _is_whole(value):
                raise RankError(f"{what}: expected a text, got {shown(value)}")
            return _text(value)
        if not _is_number(value):
            raise RankError(f"{what}: expected a number, got {shown(value)}")
        return float(value)

    def _file(self, value: Any, what: str) -> bytes | None:
        data = _bytes(value, self.kind, what)
        if not data:
            return None
        try:
            return bytes(taken(data, self.form))
        except FileProblem as error:
            raise RankError(f"{what}: {error}; give another file, or leave it out") from None

    def arrays(self, values: Sequence[Any]) -> Arrays:
        """Raw values [N] and flags [N] of what `raw` gave, a placeholder for each None."""
        text = self.dtype == "string"
        empty: Any = "" if text else 0.0
        filled = [empty if v is None else v for v in values]
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and that is absent
            array = np.array(filled, object if text else np.float32)
        return {
            self.name: array,
            f"{self.name}_present": np.array([v is not None for v in values], bool),
        }


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything that an export takes.

    Attributes:
      columns: The features that stand in a column, by name.
      history: Name of the history feature, or None.
    """

    columns: Mapping[str, Column]
    history: str | None

    def context(self, side: str, value: Any) -> Arrays:
        """The features [1] of the query or the shopper, with their flags.

        Args:
          side: query or user.
          value: A mapping of features, or the value of the only one that it can mean.

        Raises:
          RankError: There is no such feature, or a value does not fit.
        """
        if value is None:
            value = {}
        elif not isinstance(value, Mapping):
            value = {self._only(side, value): value}
        return self.rows((side,), [value], [side])

    def rows(
        self, sides: Sequence[str], rows: Sequence[Mapping[str, Any]], wheres: Sequence[str]
    ) -> Arrays:
        """The features [rows] of some sides, with their flags.

        Args:
          sides: Sides of the schema.
          rows: Mappings of features.
          wheres: What each row is, for the messages.

        Raises:
          RankError: There is no such feature, or a value does not fit.
        """
        columns = {n: c for n, c in self.columns.items() if c.side in sides}
        for row, where in zip(rows, wheres, strict=True):
            for name in row:
                if name not in columns:
                    raise RankError(f"{where}: {self._unknown(str(name), columns)}")
        arrays: Arrays = {}
        for name, column in columns.items():
            values = [
                column.raw(row.get(name), where) for row, where in zip(rows, wheres, strict=True)
            ]
            arrays |= column.arrays(values)
        return arrays

    def events(self, history: Iterable[Any] | None) -> Arrays:
        """The history [1, H], oldest event first; nothing for an export without history.

        Args:
          history: (item, type, age in days) tuples or mappings with the keys of `EVENT`.

        Raises:
          RankError: An event is not of that form, or the export takes no history.
        """
        events = read_events(history)
        if self.history is None:
            if events:
                raise RankError("this ranker reads no history; leave `history` out")
            return {}
        events.sort(key=lambda e: -e[2])
        items, types, ages = zip(*events, strict=True) if events else ((), (), ())
        with np.errstate(over="ignore"):
            array = np.array([ages], np.float32)
        return {
            f"{self.history}_items": np.array([items], object),
            f"{self.history}_types": np.array([types], object),
            f"{self.history}_ages": array,
        }

    def _only(self, side: str, value: Any) -> str:
        """The feature that a bare value is for.

        Bytes and `pathlib` paths are for the only feature of files, anything else for the only
        text, and where there is none of these, for the only feature.
        """
        columns = [c for c in self.columns.values() if c.side == side]
        of_file = isinstance(value, (bytes, bytearray, memoryview, os.PathLike))
        likely = [c for c in columns if (c.media if of_file else c.kind == "text")]
        for only in (likely, columns):
            if len(only) == 1:
                return only[0].name
        if not columns:
            raise RankError(f"this ranker reads no feature of the {side}; leave `{side}` out")
        names = ", ".join(c.name for c in columns)
        raise RankError(f"{side}: a mapping is needed, since there are several features: {names}")

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        if name == self.history:
            return f"{name!r} is given as the argument `history`"
        if name in self.columns:
            return f"{name!r} is a feature of side {self.columns[name].side}, which goes elsewhere"
        return f"the ranker knows no feature {name!r} here{did_you_mean(name, known)}"


def item_id(value: Any, where: str) -> str:
    """An item id as text.

    Raises:
      RankError: It is neither a text nor a whole number, or it is empty.
    """
    if not isinstance(value, str) and not _is_whole(value):
        raise RankError(f"{where}: expected an item id, got {shown(value)}")
    if value == "":
        raise RankError(f"{where}: the item id is empty")
    return _text(value)


def refuse_frame(what: str, value: Any) -> None:
    """Nothing, if a value is no DataFrame, whose elements are the names of its columns.

    Raises:
      RankError: It is one.
    """
    if isinstance(value, pd.DataFrame):
        raise RankError(f"{what}: expected a list, got a DataFrame; give {what}.to_dict('records')")


def read_events(history: Iterable[Any] | None) -> list[tuple[str, str, float]]:
    """The item id, type and age in days of each event.

    Raises:
      RankError: An event is not of that form.
    """
    refuse_frame("history", history)
    return [_event(e, f"history[{i}]") for i, e in enumerate(() if history is None else history)]


def _event(event: Any, where: str) -> tuple[str, str, float]:
    if isinstance(event, Mapping):
        for key in event:
            if key not in EVENT:
                raise RankError(f"{where}: unknown key {shown(key)}{did_you_mean(str(key), EVENT)}")
        event = tuple(event.get(key) for key in EVENT)
    if not isinstance(event, (tuple, list)) or len(event) != len(EVENT):
        raise RankError(f"{where}: expected (item, type, age in days), got {shown(event)}")
    item, kind, age = event
    if kind is not None and not isinstance(kind, str):
        raise RankError(f"{where}: expected an event type, got {shown(kind)}")
    if not _is_number(age) or not 0 <= age < math.inf:
        raise RankError(f"{where}: expected an age of 0 days or more, got {shown(age)}")
    if age > MOST_DAYS:
        raise RankError(
            f"{where}: expected an age in days, got {shown(age)}, which looks like a time; give "
            "(now - time) / 86400"
        )
    return item_id(item, where), _well_formed(kind or ""), float(age)


def _bytes(value: Any, kind: str, what: str) -> bytes | None:
    """The bytes of a media file given by its path or its bytes; None if it is empty."""
    if isinstance(value, (str, os.PathLike)):
        if not str(value):
            return None
        try:
            value = pathlib.Path(value).read_bytes()
        except OSError as error:
            raise RankError(
                f"{what}: {value}: {error.strerror}; give the {kind} file's path or bytes, or "
                "leave it out"
            ) from error
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise RankError(
            f"{what}: expected the bytes or the path of a file ({kind}), got {type(value).__name__}"
        )
    return bytes(value)


def _packed(value: Any, reviews: Mapping[str, Any], what: str) -> str | None:
    """The reviews as one text; None without any."""
    keys = ReviewKeys(**reviews["keys"])
    try:
        read = read_reviews(value, keys)
    except (ValueError, OverflowError) as error:
        raise RankError(f"{what}: {error}") from error
    if any(r.age is None and r.time is not None for r in read):
        raise RankError(f"{what}: give the age of a review in days as {keys.age!r}, not its time")
    return _well_formed(pack(read, reviews["most"])) or None


def _lines(value: Any, what: str) -> str | None:
    """The attributes as one text; None without any."""
    try:
        return _well_formed(attribute_lines(value)) or None
    except ValueError as error:
        raise RankError(f"{what}: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _text(value: Any) -> str:
    # Ids are texts, and often written as numbers.
    return _well_formed(value) if isinstance(value, str) else str(int(value))


def _well_formed(text: str) -> str:
    """A text without half characters, as clients leave them that cut a text in an emoji."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)
