"""Reviews of an item: reads them from one cell, and packs them into one text for the graph.

A raw value of the graph is one scalar, so the reviews of an item are packed into one text. U+001E
separates reviews, and U+001F separates the fields of a review: text, age in whole days, helpful
votes. Unknown fields are empty, and empty fields at the end are left out:
`good␟3␟12␞never again␟40`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.blank import BLANK
from mmrank.outputs import shown

BETWEEN_REVIEWS, BETWEEN_FIELDS = "\x1e", "\x1f"
DAY = 86_400.0
# A text that begins like this is a JSON array; any other text is one review.
_ARRAY = re.compile(r'\s*\[\s*["{\]]')
_CONTROL = re.compile("[\x00-\x1f]+")


@dataclasses.dataclass(frozen=True)
class ReviewKeys:
    """The names of a review's fields in the data.

    Attributes:
      text: Name of the text.
      age: Name of the age in days.
      time: Name of the time when it was written, in seconds since 1970 or as an ISO date.
      helpful: Name of the number of users who found it helpful.

    Example:
      >>> read_reviews({"body": "Fits well", "age": 3}, ReviewKeys(text="body", age="age"))
      [Review(text='Fits well', age=3.0, time=None, helpful=None)]
    """

    text: str = "text"
    age: str = "age_days"
    time: str = "time"
    helpful: str = "helpful"


@dataclasses.dataclass(frozen=True)
class Review:
    """One review with a text; `age` in days, `time` in seconds since 1970; None if unknown.

    Example:
      >>> newest_time([[Review("Fits well", time=100.0)], [Review("Too small", time=200.0)], []])
      200.0
    """

    text: str
    age: float | None = None
    time: float | None = None
    helpful: float | None = None


def read_reviews(value: Any, keys: ReviewKeys) -> list[Review]:
    """The reviews in one cell, in their order; those without a text are left out.

    Args:
      value: A list of texts and mappings, JSON of such a list, one text, one mapping, a result of
        `pack`, or missing.
      keys: The names in mappings; other names are ignored.

    Raises:
      ValueError: `value` has another form, its JSON is broken, or a number or time cannot be read.

    Example:
      >>> cell = '["Fits well", {"text": "Too small", "age_days": 3}]'
      >>> for review in read_reviews(cell, ReviewKeys()):
      ...     print(review)
      Review(text='Fits well', age=None, time=None, helpful=None)
      Review(text='Too small', age=3.0, time=None, helpful=None)
    """
    if isinstance(value, str) and (BETWEEN_REVIEWS in value or BETWEEN_FIELDS in value):
        value = [_unpacked(part, keys) for part in value.split(BETWEEN_REVIEWS)]
    elif isinstance(value, str):
        value = _decoded(value) if _ARRAY.match(value) else [value]
    elif isinstance(value, Mapping):
        value = [value]
    elif value is None or value is pd.NA or (_is_number(value) and math.isnan(value)):
        return []
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ValueError(f"expected a list of reviews, got {shown(value)}")
    reviews = [_review(entry, keys) for entry in value]
    return [r for r in reviews if r is not None]


def newest_time(cells: Iterable[Sequence[Review]]) -> float | None:
    """The time of the latest review, in seconds since 1970; None if none has a time."""
    return max((r.time for cell in cells for r in cell if r.time is not None), default=None)


def pack(reviews: Sequence[Review], most: int, now: float | None = None) -> str:
    """The reviews packed into one text (see the module); the empty text without reviews.

    Args:
      reviews: Any number of reviews.
      most: How many are kept: the most helpful, among equally helpful ones the latest, then the
        first.
      now: The time in seconds since 1970 from which ages are computed, where only the time of a
        review is known.

    Example:
      >>> reviews = [Review("Fits well"), Review("Too small", age=3.0, helpful=12.0)]
      >>> pack(reviews, most=2).replace(BETWEEN_REVIEWS, "␞").replace(BETWEEN_FIELDS, "␟")
      'Too small␟3␟12␞Fits well'
    """
    aged = [(r, _age(r, now)) for r in reviews]
    aged.sort(key=lambda pair: (-(pair[0].helpful or 0), math.inf if pair[1] is None else pair[1]))
    return BETWEEN_REVIEWS.join(
        BETWEEN_FIELDS.join([r.text, _whole(age), _whole(r.helpful)]).rstrip(BETWEEN_FIELDS)
        for r, age in aged[:most]
    )


def _age(review: Review, now: float | None) -> float | None:
    if review.age is not None or review.time is None or now is None:
        return review.age
    return max(0.0, (now - review.time) / DAY)


def _whole(number: float | None) -> str:
    return "" if number is None else str(int(number))


def _unpacked(part: str, keys: ReviewKeys) -> dict[str, Any]:
    text, age, helpful = (part.split(BETWEEN_FIELDS) + ["", ""])[:3]
    numbers_ = {keys.age: age.strip(), keys.helpful: helpful.strip()}
    return {keys.text: text} | {key: float(value) for key, value in numbers_.items() if value}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"broken JSON: {error}") from error


def _review(entry: Any, keys: ReviewKeys) -> Review | None:
    if entry is None:
        return None
    if isinstance(entry, str):
        entry = {keys.text: entry}
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected a review's text or a mapping, got {shown(entry)}")
    text = entry.get(keys.text)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{keys.text!r}: expected a text, got {shown(text)}")
    # The separators are control characters, so a text must not contain any.
    text = _CONTROL.sub(" ", text or "").strip(BLANK)
    if not text:
        return None
    return Review(
        text,
        _number(entry, keys.age),
        _time(entry.get(keys.time), keys.time),
        _number(entry, keys.helpful),
    )


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None or (_is_number(value) and math.isnan(value)):
        return None
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"{key!r}: expected a number of 0 or more, got {shown(value)}")
    return float(value)


def _time(value: Any, key: str) -> float | None:
    if value is None or value is pd.NaT or value == "" or (_is_number(value) and math.isnan(value)):
        return None
    if _is_number(value):
        return float(value)
    if isinstance(value, (str, datetime.date, np.datetime64)):
        try:
            return float(pd.Timestamp(value).timestamp())
        except ValueError as error:
            raise ValueError(f"{key!r}: not a time: {shown(value)}") from error
    raise ValueError(f"{key!r}: expected seconds since 1970 or an ISO date, got {shown(value)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
