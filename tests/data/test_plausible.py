"""Values that are readable but probably wrong are reported, and valid values are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.data.cells import seconds
from mmrank.data.plausible import check_plausible
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
    """Three valid tables; an argument `table_column` replaces a column."""
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


def test_valid_data_has_no_findings() -> None:
    assert said(schema(), frames()) == []
    # One tag per item needs no separator, and an occasional comma belongs to the tag.
    assert said(schema(), frames(catalog_tags=["red", "blue"])) == []
    assert said(schema(separator=","), frames(catalog_tags=["red,new", "blue"])) == []
    # An ISO date is accepted, unlike the plain number 20231114.
    assert said(schema(), frames(lists_at=["2023-11-14"] * 4)) == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"catalog_tags": ["red, new", "blue, old"]},
            ["items.csv, column 'tags'", "2 of 2 contain ','", "separator: ','"],
        ),
        ({"lists_at": [20231114, 20231114, 20240229, 20240229]}, ["dates written as numbers"]),
        ({"events_at": ["20231114", "20231115"]}, ["events.csv", "dates written as numbers"]),
        ({"events_at": [45244.5, 45245.0]}, ["look like Excel day numbers [2: row 1: 45244.5"]),
        ({"events_at": [0, NOW]}, ["times before 1990 [1: row 1: 0]"]),
        ({"events_at": ["9999-12-31", "2023-11-14"]}, ["beyond the year 5000 [1: row 1"]),
        ({"events_user": ["u.0", "v.0"]}, ["no user of judged.csv has an event", "'u'", "'u.0'"]),
        ({"lists_grade": [0, 100, 50, 0]}, ["grades up to 100", "only the highest count"]),
        ({"lists_grade": [0, 4, 0, 0]}, ["no validation list has a relevant item"]),
    ],
)
def test_each_fault_is_a_separate_warning(columns: dict[str, Any], words: list[str]) -> None:
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
    # 2,932,896 days from 1970-01-01 to 9999-12-31, by the Gregorian calendar.
    np.testing.assert_array_equal(found, [2_932_896 * 86_400.0, np.nan, 1_699_920_000.25])


@pytest.mark.parametrize(
    ("time", "actual"),
    [
        (NOW * 1e3, "milliseconds"),
        (NOW * 1e6, "microseconds"),
        (NOW * 1e9, "nanoseconds"),
        (20231114101500, "dates written as numbers"),
        (202311141015, "dates written as numbers"),
        (202311142515, "milliseconds"),  # 25:15 is not a time of day
    ],
)
def test_times_of_another_unit_are_reported_with_it(time: float, actual: str) -> None:
    (finding,) = check_plausible(schema(), frames(events_at=[NOW, time]))
    assert f"times that look like {actual}" in str(finding)
    assert "[1: row 2" in str(finding)


def test_words_for_a_missing_value_are_reported_if_they_count_as_values() -> None:
    named = {"name": "brand", "kind": "category", "side": "item"}
    plain = {
        "catalog": "items.csv",
        "lists": {"file": "judged.csv", "user": "user"},
        "features": [named, {"name": "grade", "kind": "number", "side": "label"}],
    }
    of = schema_from_dict(plain)
    (finding,) = check_plausible(of, frames(catalog_brand=["nan", "None"]))
    assert "items.csv, column 'brand': words that often mean a missing" in str(finding)
    assert "[1: row 1: 'nan']" in str(finding)  # a pattern may be None
    assert not finding.fatal
    (finding,) = check_plausible(of, frames(catalog_brand=["a", "b"], lists_user=["None"] * 4))
    assert "but count as the id of one user [4:" in str(finding)


def test_a_column_without_users_and_an_empty_events_table_are_reported() -> None:
    nobody, empty = frames(lists_user=[None] * 4), frames()
    assert any("column 'user': no row has a user" in s for s in said(schema(), nobody))
    empty["events"] = empty["events"][:0]
    assert said(schema(), empty) == ["events.csv: no rows; every history is empty; add events"]


def test_tags_that_are_lists_written_as_texts_are_reported() -> None:
    (finding,) = check_plausible(schema(), frames(catalog_tags=['["red", "new"]', "['blue']"]))
    assert "values of tags that are lists written as texts" in str(finding)
    assert said(schema(), frames(catalog_tags=[["red, new"], ["blue, old"]])) == []


def test_negative_values_of_a_logarithm_are_reported() -> None:
    plain = {
        "catalog": "items.csv",
        "lists": {"file": "judged.csv"},
        "features": [
            {"name": "profit", "kind": "number", "side": "item", "log": True},
            {"name": "grade", "kind": "number", "side": "label"},
        ],
    }
    (finding,) = check_plausible(schema_from_dict(plain), frames(catalog_profit=[-2.5, 0]))
    assert "column 'profit': values below 0" in str(finding)
    assert "[1: row 1: -2.5]; they count as 0" in str(finding)
