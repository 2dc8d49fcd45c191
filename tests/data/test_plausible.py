"""What can be read and is hardly meant so: each kind is told, and what is sound is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.data.plausible import check_plausible
from mmrank.data.tables import seconds
from mmrank.schema import Schema, schema_from_dict

NOW = 1_700_000_000


def schema(**tags: Any) -> Schema:
    return schema_from_dict(
        {
            "catalog": "items.csv",
            "lists": {"file": "judged.csv", "user": "user", "time": "at", "split": "split"},
            "events": {"file": "events.csv", "user": "user", "time": "at"},
            "features": [
                {"name": "tags", "kind": "tags", "side": "item", **tags},
                {"name": "grade", "kind": "number", "side": "label"},
            ],
        }
    )


def frames(**columns: Any) -> dict[str, pd.DataFrame]:
    """Three tables that are sound, with some columns in place of their own, as table_column."""
    made = {
        "catalog": pd.DataFrame({"item_id": ["a", "b"], "tags": ["red|new", "blue"]}),
        "lists": pd.DataFrame(
            {
                "user": ["u", "u", "v", "v"],
                "at": [NOW, NOW, NOW + 1, NOW + 1],
                "split": ["train", "train", "valid", "valid"],
                "grade": [0, 4, 1, 0],
            }
        ),
        "events": pd.DataFrame({"user": ["u", "w"], "at": [NOW, NOW]}),
    }
    for key, values in columns.items():
        table, _, column = key.partition("_")
        made[table] = made[table].assign(**{column: values})
    return made


def said(of: Schema, tables: dict[str, pd.DataFrame]) -> list[str]:
    return [str(finding) for finding in check_plausible(of, tables)]


def test_what_is_sound_says_nothing() -> None:
    assert said(schema(), frames()) == []
    # One tag an item needs no separator, and a comma now and then is part of a tag.
    assert said(schema(), frames(catalog_tags=["red", "blue"])) == []
    assert said(schema(separator=","), frames(catalog_tags=["red,new", "blue"])) == []
    # ISO dates are read, whatever their digits.
    assert said(schema(), frames(lists_at=["2023-11-14"] * 4)) == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"catalog_tags": ["red, new", "blue, old"]},
            ["items.csv, column 'tags'", "2 of 2 hold ','", "separator: ','"],
        ),
        ({"lists_at": [20231114, 20231114, 20240229, 20240229]}, ["dates written as numbers"]),
        ({"events_at": ["20231114", "20231115"]}, ["events.csv", "dates written as numbers"]),
        ({"events_at": [45244.5, 45245.0]}, ["days as Excel counts them [2: row 1: 45244.5"]),
        ({"events_at": [0, NOW]}, ["times before 1990 [1: row 1: 0]"]),
        ({"events_at": ["9999-12-31", "2023-11-14"]}, ["beyond the year 5000 [1: row 1"]),
        ({"events_user": ["u.0", "v.0"]}, ["no user of judged.csv has an event", "'u'", "'u.0'"]),
        ({"lists_grade": [0, 100, 50, 0]}, ["grades up to 100", "the highest alone count"]),
        ({"lists_grade": [0, 4, 0, 0]}, ["no validation list has a relevant item"]),
    ],
)
def test_each_kind_is_a_warning_of_its_own(columns: dict[str, Any], words: list[str]) -> None:
    (finding,) = check_plausible(schema(), frames(**columns))
    assert not finding.fatal
    for word in words:
        assert word in str(finding)


def test_grades_beyond_float32_are_an_error() -> None:
    (finding,) = check_plausible(schema(), frames(lists_grade=[0, 150, 1, 0]))
    assert finding.fatal
    assert "grades above 127" in str(finding)
    assert np.isfinite(np.float32(2.0) ** np.float32(127))
    assert not np.isfinite(np.float64(2.0**128).astype(np.float32))


def test_an_open_end_of_time_is_a_time() -> None:
    found = seconds(pd.Series(["9999-12-31T00:00:00Z", None, "2023-11-14T00:00:00.25Z"]))
    # 2,932,896 days from 1970 to the last of the year 9999, by the Gregorian calendar.
    np.testing.assert_array_equal(found, [2_932_896 * 86_400.0, np.nan, 1_699_920_000.25])
