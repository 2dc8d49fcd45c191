"""The lines of a log of shown pages: the server writes them, and all who learn or judge read them.

A folder has files `shown-*.jsonl`, with a line for each page, and `feedback-*.jsonl`, with a line
for each report of what a user did there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrank.data.findings import DataError
from mmrank.data.page_log_records import Feedback, Interleaved, Seen, ShownPage
from mmrank.data.page_log_values import LineObject, parsed

__all__ = [
    "FEEDBACK",
    "SHOWN",
    "Feedback",
    "Interleaved",
    "Seen",
    "ShownPage",
    "as_line",
    "feedback_from_line",
    "shown_from_line",
]

SHOWN, FEEDBACK = "shown-*.jsonl", "feedback-*.jsonl"  # patterns of the files' names
_VECTOR = np.dtype("<f2")
_OBJECTS = ("seen", "exploration", "interleaved")  # may be null


def as_line(record: ShownPage | Feedback) -> bytes:
    r"""Returns the line of a page or of feedback, with its end.

    Raises:
      ValueError: A number is not finite.

    Example:
      >>> as_line(Feedback("a7", 0.5, clicks=("P1",)))
      b'{"page":"a7","time":0.5,"clicks":["P1"],"dwell":{},"carts":[],"purchases":[]}\n'
      >>> feedback_from_line(as_line(Feedback("a7", 0.5, dwell={"P1": 2.0}))).dwell
      {'P1': 2.0}
    """
    plain = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    seen, interleaved = plain.get("seen"), plain.get("interleaved")
    if seen is not None:
        plain["seen"] = dataclasses.asdict(seen)
        if seen.vector is not None:
            raw = seen.vector.astype(_VECTOR).tobytes()
            plain["seen"] |= {
                "vector": base64.b64encode(raw).decode("ascii"),
                "width": int(seen.vector.shape[1]),
            }
    if interleaved is not None:
        plain["interleaved"] = dataclasses.asdict(interleaved)
    text = json.dumps(
        plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_listed
    )
    return text.encode("utf-8") + b"\n"


def shown_from_line(line: bytes) -> ShownPage:
    """Returns the page of a line.

    Raises:
      DataError: The line is not one of a shown page; the message says where.

    Example:
      >>> shown_from_line(b'{"page": 7}')
      Traceback (most recent call last):
      mmrank.data.findings.DataError: page: expected a text, got 7
    """
    given = parsed(line)
    some = {name: given.object(name) for name in _OBJECTS if given.has(name)}
    try:
        return ShownPage(
            page=given.text("page"),
            time=given.number("time"),
            model=given.text("model"),
            version=given.whole("version"),
            query=_query(given.object("query")),
            user=given.text("user") if given.has("user") else None,
            items=given.texts("items"),
            scores=given.numbers("scores"),
            size=given.whole("size"),
            seen=_seen(some["seen"]) if "seen" in some else None,
            policy=given.truth("policy"),
            base=given.wholes("base"),
            order=given.wholes("order"),
            exploration=_exploration(some["exploration"]) if "exploration" in some else None,
            probability=given.number("probability"),
            conditional=given.numbers("conditional"),
            interleaved=_interleaved(some["interleaved"]) if "interleaved" in some else None,
        )
    except ValueError as error:
        raise DataError(str(error)) from error


def feedback_from_line(line: bytes) -> Feedback:
    """Returns the feedback of a line.

    Raises:
      DataError: The line is not one of feedback; the message says where.
    """
    given = parsed(line)
    dwell = given.object("dwell")
    found = Feedback(
        page=given.text("page"),
        time=given.number("time"),
        clicks=given.texts("clicks"),
        dwell={item: dwell.number(item) for item in dwell.values},
        carts=given.texts("carts"),
        purchases=given.texts("purchases"),
    )
    if any(seconds < 0 for seconds in found.dwell.values()):
        raise DataError("dwell: seconds below 0")
    return found


def _query(given: LineObject) -> dict[str, str | float]:
    return {
        name: given.text(name) if isinstance(value, str) else given.number(name)
        for name, value in given.values.items()
    }


def _seen(given: LineObject) -> Seen:
    return Seen(
        attraction=given.numbers("attraction"),
        purchase=given.numbers("purchase"),
        dwell=given.numbers("dwell"),
        price=given.numbers("price"),
        vector=_vector(given) if given.has("vector") else None,
        group=given.texts("group") if given.has("group") else None,
        fingerprint=given.text("fingerprint") if given.has("fingerprint") else "",
    )


def _vector(given: LineObject) -> np.ndarray:
    width = given.whole("width")
    try:
        raw = base64.b64decode(given.text("vector"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"seen.vector: not base64: {error}") from error
    if width < 1 or len(raw) % (width * _VECTOR.itemsize):
        raise ValueError(f"seen.vector: {len(raw)} bytes are no rows of {width} float16")
    return np.frombuffer(raw, _VECTOR).reshape(-1, width)


def _exploration(given: LineObject) -> dict[str, Any]:
    kind, opened = given.text("kind"), given.truths("open")
    option = "temperature" if kind == "boltzmann" else "epsilon"
    if not given.number(option) > 0:
        raise ValueError(f"exploration.{option}: must be above 0")
    return {**given.values, "open": opened}


def _interleaved(given: LineObject) -> Interleaved:
    versions = given.wholes("versions").tolist()
    orders = [each.wholes("orders") for each in given.of_lists("orders")]
    if len(versions) != 2 or len(orders) != 2 or len(orders[0]) != len(orders[1]):
        raise ValueError("interleaved: expected two versions, and two orders of equal length")
    return Interleaved(
        given.text("kind"), (versions[0], versions[1]), given.wholes("teams"), np.stack(orders)
    )


def _listed(value: Any) -> Any:
    """What JSON has for an array, a number of NumPy, or another mapping than a dict."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__}: not a value of JSON")
