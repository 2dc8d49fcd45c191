"""Converts the JSON of POST /feedback to a record of the page log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmrank.data.page_log_lines import Feedback
from mmrank.schema import did_you_mean
from mmrank.server.errors import INVALID_ARGUMENT, ServingError

EVENTS = ("clicks", "carts", "purchases")
KEYS = ("page", "dwell", *EVENTS)
MOST_ID = 512  # characters of an item's id
MOST_SECONDS = 86_400.0  # on one item; a tab that is left open says nothing
_PAGE = re.compile(r"[0-9a-f]{32}")


def read_feedback(body: Mapping[str, Any], most: int, time: float) -> Feedback:
    """Returns the feedback in a JSON object.

    Args:
      body: The object. A key whose value is null counts as missing.
      most: Most items in each list, and in `dwell`.
      time: When it arrived, in seconds since 1970.

    Raises:
      ServingError: A key is unknown or missing, a value has the wrong type or is out of its range,
        or a list is too long.

    Example:
      >>> read_feedback({"page": "0" * 32, "dwell": {"P1": 3}}, most=10, time=0.0).dwell
      {'P1': 3.0}
    """
    for key in body:
        if key not in KEYS:
            raise _wrong(f"unknown key {key[:60]!r}{did_you_mean(key, KEYS)}")
    page = body.get("page")
    if not isinstance(page, str) or not _PAGE.fullmatch(page):
        raise _wrong('"page": expected the id that the reply of /rank had as "page"')
    items = {key: _items(key, body.get(key), most) for key in EVENTS}
    return Feedback(page, time, dwell=_dwell(body.get("dwell"), most), **items)


def _items(key: str, value: Any, most: int) -> tuple[str, ...]:
    """Returns item ids, each once."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(f'"{key}": expected a list of item ids')
    _check_count(key, len(value), most)
    for item in value:
        _check_item(key, item)
    return tuple(dict.fromkeys(value))


def _dwell(value: Any, most: int) -> dict[str, float]:
    """Returns seconds by item id."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong('"dwell": expected an object, {ITEM: SECONDS}')
    _check_count("dwell", len(value), most)
    for item, seconds in value.items():
        _check_item("dwell", item)
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not 0 <= seconds <= MOST_SECONDS:
            raise _wrong(f'"dwell": expected seconds from 0 to {MOST_SECONDS:g} for each item')
    return {item: float(seconds) for item, seconds in value.items()}


def _check_count(key: str, count: int, most: int) -> None:
    if count > most:
        raise _wrong(f'"{key}": {count} items; send at most {most}')


def _check_item(key: str, item: Any) -> None:
    if not isinstance(item, str) or not 0 < len(item) <= MOST_ID:
        raise _wrong(f'"{key}": an item id is a text of 1 to {MOST_ID} characters')


def _wrong(message: str) -> ServingError:
    return ServingError(INVALID_ARGUMENT, message)
