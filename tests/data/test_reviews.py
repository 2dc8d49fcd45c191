"""The reviews of a cell, read from every accepted form and packed into one text."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pandas as pd
import pytest

from mmrank.data.checks import check_catalog
from mmrank.data.reviews import Review, ReviewKeys, newest_time, pack, read_reviews
from mmrank.schema import Catalog, Feature, Lists, Schema

KEYS = ReviewKeys()
SAID = [
    {"text": "good", "age_days": 3, "helpful": 12, "stars": 5},
    {"text": "never again", "age_days": 40.7, "helpful": None},
]
READ = [Review("good", 3, None, 12), Review("never again", 40.7)]


@pytest.mark.parametrize("form", [list, tuple, np.array, json.dumps])
def test_lists_arrays_and_json_are_read_alike(form):
    assert read_reviews(form(SAID), KEYS) == READ


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain [ok]", [Review("plain [ok]")]),
        ("[Update] still good", [Review("[Update] still good")]),
        (["好", None, " \u200b", "bad"], [Review("好"), Review("bad")]),
        ('["好", "bad"]', [Review("好"), Review("bad")]),
        ({"text": "one"}, [Review("one")]),
        ([{"text": " "}, {"helpful": 3}], []),
        (["a\x1eb\x1fc\nd"], [Review("a b c d")]),
        ([{"text": "a", "age_days": float("nan"), "time": pd.NaT}], [Review("a")]),
        ("[]", []),
        (None, []),
        (float("nan"), []),
        ("", []),
    ],
)
def test_single_values(value, expected):
    assert read_reviews(value, KEYS) == expected


def test_times_are_read_as_seconds_or_dates():
    day = 86_400.0
    times = [day, "1970-01-02", datetime.datetime(1970, 1, 2), np.datetime64("1970-01-02")]
    read = read_reviews([{"text": "a", "time": t} for t in times], KEYS)
    assert [r.time for r in read] == [day] * 4
    cells = [read, [], [Review("b", time=3 * day)], [Review("c")]]
    assert newest_time(cells) == 3 * day
    assert newest_time([[Review("c")]]) is None
    assert pack([Review("a", time=day), Review("b", time=4 * day)], 9, now=3.5 * day) == (
        "b\x1f0\x1ea\x1f2"
    )
    assert pack([Review("a", time=day)], 9) == "a"


def test_fields_may_have_other_names():
    keys = ReviewKeys(text="body", helpful="votes")
    assert read_reviews([{"body": "a", "votes": 2, "text": 7}], keys) == [Review("a", helpful=2)]


def test_packing_keeps_the_most_helpful_then_the_latest_then_the_first():
    reviews = [
        Review("first"),
        Review("second"),
        Review("old", age=90),
        Review("new", age=2),
        Review("helpful", age=400, helpful=3),
    ]
    assert pack(reviews, 4).split("\x1e") == [
        "helpful\x1f400\x1f3",
        "new\x1f2",
        "old\x1f90",
        "first",
    ]
    assert pack([Review("a", helpful=7)], 4) == "a\x1f\x1f7"
    assert pack(READ, 4) == "good\x1f3\x1f12\x1enever again\x1f40"
    assert pack([], 4) == ""
    assert read_reviews("good\x1f3\x1f12\x1enever again\x1f40", KEYS) == [
        Review("good", 3, None, 12),
        Review("never again", 40),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "expected a list of reviews, got 3"),
        ('["broken', "broken JSON"),
        ([["a"]], "expected a review's text or a mapping"),
        ([{"text": 5}], "'text': expected a text, got 5"),
        ([{"text": "a", "helpful": -1}], "'helpful': expected a number of 0 or more, got -1"),
        ([{"text": "a", "age_days": "3"}], "'age_days': expected a number"),
        ([{"text": "a", "time": "soon"}], "'time': not a time: 'soon'"),
        ([{"text": "a", "time": ["x"]}], "'time': expected seconds"),
    ],
)
def test_unreadable_reviews_are_reported(value, message):
    with pytest.raises(ValueError, match=message):
        read_reviews(value, KEYS)


def test_validation_names_the_rows():
    feature = Feature("reviews", "reviews", "item", "said", {"helpful_key": "votes"})
    schema = Schema("shop", Catalog(), Lists(), None, (feature,))
    cells = [["fine"], '["broken', [{"text": "a", "votes": -1}], None]
    catalog = pd.DataFrame({"item_id": ["1", "2", "3", "4"], "said": cells})
    (finding,) = check_catalog(schema, catalog)
    assert finding.fatal
    assert (finding.column, finding.count) == ("said", 2)
    assert [row for row, _ in finding.rows] == [2, 3]
    assert "'votes'" in finding.rows[1][1]
