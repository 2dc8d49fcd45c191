"""The interface of a kind of feature: what every part but its encoder asks about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from mmrank.data.conversion import text_of
from mmrank.data.findings import SHOWN, Finding
from mmrank.data.kinds.values import (
    as_float,
    id_text,
    is_missing,
    is_number,
    is_whole,
    joined,
    text_of_cell,
)
from mmrank.outputs import shown
from mmrank.schema import Feature, Schema

if TYPE_CHECKING:
    from mmrank.data.tables import Dataset

ONE_TEXT, TEXTS, NUMBERS, AS_THEY_ARE = "one text", "texts", "numbers", "as they are"
BY_WORDS, BY_NAME = "words", "name"
NUMBER, CATEGORY = "number", "category"


class RawForm(Protocol):
    """The form in which an export takes the values of a feature, as its card says."""

    @property
    def kind(self) -> str:
        """The name of the kind."""

    @property
    def dtype(self) -> str:
        """The raw value's type: string or float32."""

    @property
    def separator(self) -> str | None:
        """The text between the values of a feature of several values; otherwise None."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The values of the kind's `facts`."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the default size of an encoder is chosen by.

    Attributes:
      schema: The schema of the dataset.
      dataset: The dataset; it is read but never changed.
      rows: The rows of its lists that may be inspected.
      small, large: Whether the dataset has few training lists, or many.
    """

    schema: Schema
    dataset: Dataset
    rows: pd.DataFrame
    small: bool
    large: bool


class Kind:
    """What the parts of the project ask about one kind of feature, with a default for each.

    The defaults are those of a kind that no check, baseline or report reads in a special way, and
    whose raw value is one text or one number. A kind has no state: one object, an entry of `KINDS`,
    serves all features of the kind. What is fitted is in the feature's encoder.

    Attributes:
      sides: Sides of the schema that a feature of this kind may be on.
      encoder: The class of its encoder as `module:Class`, a `FeatureKind` of
        `mmrank.encoders.base`. It is imported only when a model is made, because it needs
        TensorFlow. Empty for a kind without a column.
      typed: Whether values are texts that users type as queries. Where a query may have several
        features, baselines, slices and match features read these.
      in_words: Whether a raw value consists of words as they are, which a cross-encoder can read.
      matched_by: How an item's value is compared with a query's text, by match features and by
        BM25: `BY_WORDS`, or `BY_NAME` if queries also contain whole values, such as a brand. None
        for values without words.
      bagged: Whether `bag` gives words.
      tabular: How a log of clicks is explained by values, for the estimate of propensities: as a
        `NUMBER` or as a `CATEGORY`; None for a kind that it leaves out.
      cells: How the cells of a table are read: `ONE_TEXT`, `TEXTS` (one text or a list of them),
        `NUMBERS` or `AS_THEY_ARE`.
      media: Whether a value is a file, which the column names.
      numeric: Whether values are plain numbers. A dataset of such features alone gets defaults of
        its own.
      left_out: Whether the report shows by default what the ranker is worth without such features.
      facts: Keys in the card of an export, besides the separator, that a request is read by.
      measures: What is counted of a feature's values to detect drift: names in
        `mmrank.serving.drift.bins.MEASURES`.

    Example:
      >>> import pandas as pd
      >>> class Colour(Kind):  # several colours in one text
      ...     sides, bagged = ("item",), True
      ...
      ...     def bag(self, values, feature):
      ...         return [str(value).split("/") for value in values]
      >>> feature = Feature("colour", "colour", "item", "colour")
      >>> values = pd.Series(["red/white", "red"])
      >>> Colour().bag(values, feature)
      [['red', 'white'], ['red']]
      >>> Colour().text("red"), list(Colour().check("products.csv", values, feature))  # defaults
      ('red', [])
    """

    sides: ClassVar[tuple[str, ...]] = ()
    encoder: ClassVar[str] = ""
    cells: ClassVar[str] = AS_THEY_ARE
    typed: ClassVar[bool] = False
    in_words: ClassVar[bool] = False
    matched_by: ClassVar[str | None] = None
    bagged: ClassVar[bool] = False
    tabular: ClassVar[str | None] = None
    numeric: ClassVar[bool] = False
    left_out: ClassVar[bool] = False
    media: ClassVar[bool] = False
    facts: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ("presence",)

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds values that cannot be used.

        Args:
          file: The table, as the schema names it.
          values: The feature's column, [rows]; not all values are missing.
          feature: The feature.
        """
        yield from ()

    def doubt(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds values that can be used but are hardly meant so; arguments as for `check`."""
        yield from ()

    def count_empty(self, values: pd.Series, feature: Feature) -> int | None:
        """The number of values without a text, for the report; None for kinds that do not count."""
        return None

    def guessed_options(self, values: pd.Series) -> dict[str, Any]:
        """The options that a column's values call for in a schema that is written for the user."""
        return {}

    def default_size(self, seen: Seen) -> tuple[dict[str, Any], str] | None:
        """The encoder's options by the amount of data, and the reason; None for the defaults."""
        return None

    def text(self, value: Any) -> str:
        """The words of a cell that BM25 searches; "" for a missing value."""
        return text_of_cell(value)

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        """The words that describe each item, for codes of items and for items without events."""
        return [[] for _ in values]

    def raw(self, value: Any, form: RawForm) -> Any:
        """A value of a request as the graph takes it; None if it is absent.

        Args:
          value: The client's value.
          form: The form that the export takes.

        Raises:
          ValueError: The value has a wrong type or cannot be used; the message says why.
        """
        if form.separator is not None and isinstance(value, (list, tuple, np.ndarray)):
            value = joined(value, form.separator)
        if is_missing(value):
            return None
        if form.dtype == "string":
            if not isinstance(value, str) and not is_whole(value):
                raise ValueError(f"expected a text, got {shown(value)}")
            return id_text(value)
        if not is_number(value):
            raise ValueError(f"expected a number, got {shown(value)}")
        return as_float(value)

    def raw_cell(self, value: Any, form: RawForm) -> Any:
        """A cell of a table, which may be read by any library, as `raw` returns a value.

        Called for features whose raw value is a text.

        Raises:
          ValueError: The cell cannot be used.
        """
        if isinstance(value, (list, tuple, np.ndarray)):
            said = (text_of(v) for v in value)
            value = (form.separator or " ").join(str(w) for w in said if w is not None)
        elif isinstance(value, dict):
            value = json.dumps(value, ensure_ascii=False)
        else:
            value = text_of(value)
        return None if is_missing(value) else str(value).strip() or None

    def options(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder's options with which it reads values as an export with these facts does."""
        return {}


def check_cells(
    file: str,
    values: pd.Series,
    feature: Feature,
    read: Callable[[Any], object],
    what: str,
    remedy: str,
) -> Iterator[Finding]:
    """Finds the cells that cannot be read.

    Args:
      file, values, feature: As for `Kind.check`.
      read: Reads a cell, or raises a ValueError with the reason.
      what, remedy: As in a `Finding`.
    """
    problems: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            read(value)
        except ValueError as error:
            problems[row] = str(error)
    yield from cells_found(file, feature, problems, what, remedy)


def cells_found(
    file: str, feature: Feature, problems: Mapping[int, str], what: str, remedy: str
) -> Iterator[Finding]:
    """The finding of some cells of a column, if there are any.

    Args:
      file, feature: As for `Kind.check`.
      problems: The reason by row, counted from 0.
      what, remedy: As in a `Finding`.
    """
    if problems:
        rows = sorted(problems)
        first = tuple((row + 1, problems[row]) for row in rows[:SHOWN])
        yield Finding(file, feature.column, len(rows), first, what, remedy)
