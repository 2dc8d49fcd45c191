"""Converts a request of Python values to an export's input arrays, and checks every value."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.conversion import well_formed
from mmrank.data.kinds import KINDS
from mmrank.data.kinds.values import as_float, id_text, is_number, is_whole
from mmrank.outputs import shown
from mmrank.schema import did_you_mean
from mmrank.serving.files import FileForm

Arrays = dict[str, np.ndarray]
EVENT = ("item", "type", "age_days")
MOST_DAYS = 100_000  # the largest age of an event; a larger number is likely a time in seconds


class RankError(ValueError):
    """Raised for a request or an export that cannot be used; the message says what to change.

    Example:
      >>> item_id(" ", "candidate 0")
      Traceback (most recent call last):
      mmrank.serving.request.RankError: candidate 0: the item id is empty
    """


@dataclasses.dataclass(frozen=True)
class Column:
    """One feature that an export takes.

    Attributes:
      name, kind, side: As in the schema.
      dtype: `string` or `float32`.
      media: Whether its value is a file's bytes.
      separator: For a feature of several values: the separator between them in a text.
      facts: What else its kind reads a request by: the values of `Kind.facts`.
    """

    name: str
    kind: str
    side: str
    dtype: str
    media: bool
    separator: str | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def form(self) -> FileForm:
        """The form in which the graph takes a file."""
        return FileForm(self.kind, self.facts)

    def raw(self, value: Any, where: str) -> Any:
        """Returns the value as the graph takes it; None if it is absent.

        Raises:
          RankError: The value has a wrong type, or is a file that cannot be used.
        """
        try:
            return KINDS[self.kind].raw(value, self)
        except ValueError as error:
            raise RankError(f"{where}: {self.name}: {error}") from error

    def arrays(self, values: Sequence[Any]) -> Arrays:
        """Returns raw values [N] and flags [N] of results of `raw`, a placeholder for each None."""
        text = self.dtype == "string"
        empty: Any = "" if text else 0.0
        filled = [empty if v is None else v for v in values]
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, thus absent
            array = np.array(filled, object if text else np.float32)
        return {
            self.name: array,
            f"{self.name}_present": np.array([v is not None for v in values], bool),
        }


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All inputs of an export.

    Attributes:
      columns: The features that have a column, by name.
      history: Name of the history feature, or None.
    """

    columns: Mapping[str, Column]
    history: str | None

    def context(self, side: str, value: Any) -> Arrays:
        """Returns the features [1] of the query or the user, with their flags.

        Args:
          side: query or user.
          value: A mapping of features, or the value of the only feature that it can be for.

        Raises:
          RankError: A feature does not exist, or a value does not fit.
        """
        if value is None:
            value = {}
        elif not isinstance(value, Mapping):
            value = {self._only(side, value): value}
        return self.rows((side,), [value], [side])

    def rows(
        self, sides: Sequence[str], rows: Sequence[Mapping[str, Any]], locations: Sequence[str]
    ) -> Arrays:
        """Returns the features [rows] of some sides, with their flags.

        Args:
          sides: Sides of the schema.
          rows: Mappings of features.
          locations: What each row is, for the messages.

        Raises:
          RankError: A feature does not exist, or a value does not fit.
        """
        columns = {n: c for n, c in self.columns.items() if c.side in sides}
        for row, where in zip(rows, locations, strict=True):
            for name in row:
                if name not in columns:
                    raise RankError(f"{where}: {self._unknown(str(name), columns)}")
        arrays: Arrays = {}
        for name, column in columns.items():
            values = [
                column.raw(row.get(name), where) for row, where in zip(rows, locations, strict=True)
            ]
            arrays |= column.arrays(values)
        return arrays

    def events(self, history: Iterable[Any] | None) -> Arrays:
        """Returns the history [1, H], oldest event first; empty for an export without history.

        Args:
          history: (item, type, age in days) tuples or mappings with the keys of `EVENT`.

        Raises:
          RankError: An event has another form, or the export takes no history.
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
        """Returns the name of the feature that a value without a name is for.

        Bytes and `pathlib` paths are for the only media feature, other values for the only text
        feature. If there is not exactly one such feature, the value is for the side's only feature.

        Raises:
          RankError: The side has no features, or several that the value could be for.
        """
        columns = [c for c in self.columns.values() if c.side == side]
        of_file = isinstance(value, (bytes, bytearray, memoryview, os.PathLike))
        likely = [c for c in columns if (c.media if of_file else KINDS[c.kind].typed)]
        for only in (likely, columns):
            if len(only) == 1:
                return only[0].name
        if not columns:
            raise RankError(f"this ranker reads no feature of the {side}; leave `{side}` out")
        names = ", ".join(c.name for c in columns)
        raise RankError(f"{side}: a mapping is needed, since there are several features: {names}")

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        if name == self.history:
            return f"{name!r} is passed as the argument `history`"
        if name in self.columns:
            return (
                f"{name!r} is a feature of side {self.columns[name].side}, which is not given here"
            )
        return f"unknown feature {name!r}{did_you_mean(name, known)}"


def item_id(value: Any, where: str) -> str:
    """Returns an item id as text.

    Raises:
      RankError: The id is neither a text nor a whole number, or it is empty.
    """
    if not isinstance(value, str) and not is_whole(value):
        raise RankError(f"{where}: expected an item id, got {shown(value)}")
    if isinstance(value, str) and not value.strip():
        raise RankError(f"{where}: the item id is empty")
    return id_text(value)


def refuse_frame(what: str, value: Any) -> None:
    """Checks that a value is not a DataFrame, which would be read as the names of its columns.

    Raises:
      RankError: The value is a DataFrame.
    """
    if isinstance(value, pd.DataFrame):
        raise RankError(f"{what}: expected a list, got a DataFrame; give {what}.to_dict('records')")


def listed(candidates: Any, features: Collection[str]) -> list[Any]:
    """Returns the candidates of one list as a list.

    Args:
      candidates: The caller's argument.
      features: Names of the item features, by which a row of a DataFrame is recognised.

    Raises:
      RankError: The argument is not a list or has no order, or there are no candidates.
    """
    if isinstance(candidates, (str, bytes, Mapping)) or not isinstance(candidates, Iterable):
        raise RankError(f"candidates: expected a list, got one {type(candidates).__name__}")
    if isinstance(candidates, Set):
        raise RankError("candidates: expected a list, got a set, which has no order")
    refuse_frame("candidates", candidates)
    if isinstance(candidates, pd.Series) and not set(features).isdisjoint(candidates.index):
        raise RankError(
            "candidates: expected a list, got one row of a DataFrame; give [row.to_dict()]"
        )
    found = list(candidates)
    if not found:
        raise RankError("candidates: the list is empty; give at least one")
    return found


def read_events(history: Iterable[Any] | None) -> list[tuple[str, str, float]]:
    """Returns the item id, type and age in days of each event.

    Raises:
      RankError: An event has another form.
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
    if not is_number(age) or not 0 <= age < math.inf:
        raise RankError(f"{where}: expected an age of 0 days or more, got {shown(age)}")
    if age > MOST_DAYS:
        raise RankError(
            f"{where}: expected an age in days, got {shown(age)}, which looks like a time; give "
            "(now - time) / 86400"
        )
    return item_id(item, where), well_formed(kind or ""), as_float(age)
