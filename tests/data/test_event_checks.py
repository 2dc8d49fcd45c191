from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from mmrank.data.event_checks import check_event_times, count_events
from mmrank.schema import Schema, schema_from_dict

EVENTS: dict[str, list[Any]] = {
    "user_id": ["u", "v", "u", "u", "v"],
    "item_id": ["a", "a", "b", "b", "a"],
    "event_type": ["view", "view", "view", "buy", "view"],
    "time": [5.0, 1.0, 6.0, 6.0, 3.0],
}
LISTS = pd.DataFrame({"user_id": ["u", "n"], "item_id": ["a", "b"], "time": [10.0, 20.0]})


def schema(**changed: Any) -> Schema:
    plain: dict[str, Any] = {
        "lists": {"user": "user_id", "time": "time"},
        "events": {},
        "features": [
            {"name": "title", "kind": "text", "side": "item"},
            {"name": "collaborative", "kind": "collaborative", "side": "pair"},
        ],
    }
    return schema_from_dict(plain | changed)


def said(of: Schema) -> list[str]:
    return [str(f) for f in check_event_times(of, pd.DataFrame(EVENTS), LISTS)]


def test_valid_events_have_no_findings() -> None:
    # Users alternate, but each is in order; two types in the same second are two events.
    assert said(schema()) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"time": [5.0, 1.0, 6.0, 4.0, 3.0]},
            [
                "column 'time': events that come after a later one of the same user",
                "[1: row 4: 4.0]; they are sorted when they are read",
            ],
        ),
        (
            {"event_type": ["view"] * 5},
            [
                "column 'item_id': events that repeat an earlier row",
                "[1: row 4: 'b']; coll",
                "count them once",
            ],
        ),
        (
            {"time": [5.0, 1.0, 20.0, 21.0, 3.0]},
            [
                "column 'time': events that are not before the last list [2: row 3: 20.0, row 4",
                "they are never used",
            ],
        ),
    ],
    ids=["disorder", "repetition", "future"],
)
def test_each_fault_is_a_warning(changed: dict[str, list[Any]], words: list[str]) -> None:
    findings = list(check_event_times(schema(), pd.DataFrame(EVENTS | changed), LISTS))
    assert len(findings) == 1
    assert not findings[0].fatal
    for word in words:
        assert word in str(findings[0])


def test_lists_without_times_are_reported_if_features_use_events() -> None:
    (line,) = said(schema(lists={"user": "user_id"}))
    assert "lists without times, so for collaborative all events count as earlier" in line
    plain = [{"name": "title", "kind": "text", "side": "item"}]
    assert said(schema(lists={"user": "user_id"}, features=plain)) == []


def test_items_and_users_without_an_event_are_counted() -> None:
    frames = {"catalog": pd.DataFrame({"item_id": ["a", "b", "c", "d"]}), "lists": LISTS}
    counts = count_events(schema(), pd.DataFrame(EVENTS), frames)
    assert counts == {"items": 2, "users": 1}  # items c and d; user n
