"""Requests in Python values, without TensorFlow or an export."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmrank.serving.request import (
    Column,
    Inputs,
    RankError,
    item_id,
    listed,
    read_events,
    refuse_frame,
)

TITLE = Column("title", "text", "item", "string", False)
PHOTO = Column("photo", "image", "item", "string", True)
PRICE = Column("price", "number", "item", "float32", False)
TAGS = Column("tags", "tags", "item", "string", False, "|")
QUERY = Column("query", "text", "query", "string", False)
SEASON = Column("season", "category", "query", "string", False)
AGE = Column("age", "number", "user", "float32", False)


def inputs(*columns: Column, history: str | None = "history") -> Inputs:
    return Inputs({c.name: c for c in columns}, history)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("column", "value", "raw"),
    [
        (TITLE, "红裙 dress", "红裙 dress"),
        (SEASON, 17, "17"),
        (SEASON, np.float32(17), "17"),
        (PRICE, 3, 3.0),
        (PRICE, np.float32(0.5), 0.5),
        (TAGS, ["red", "cotton"], "red|cotton"),
        (TAGS, "red|cotton", "red|cotton"),
        (TITLE, None, None),
        (TITLE, float("nan"), None),
        (PRICE, pd.NA, None),
        (PHOTO, b"", None),
        (PHOTO, "", None),
        # A client cut the text in the middle of an emoji.
        (TITLE, "red \ud83d", "red \ufffd"),
        (TAGS, ["a\udc00", "b"], "a\ufffd|b"),
    ],
)
def test_raw_values(column: Column, value: Any, raw: Any) -> None:
    assert column.raw(value, "here") == raw


def test_a_photo_by_path_or_bytes(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png())
    assert PHOTO.raw(file, "here") == PHOTO.raw(str(file), "here") == PHOTO.raw(png(), "") == png()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (TITLE, b"bytes", "candidate 2: title: expected a text"),
        (TITLE, 1.5, "expected a text, got 1.5"),
        (PRICE, "3", "expected a number, got '3'"),
        (PRICE, True, "expected a number, got True"),
        (TAGS, ["red", {"name": "new"}], "expected a list of texts, got {'name': 'new'} in it"),
        (TAGS, [["red"]], r"expected a list of texts, got \['red'\] in it"),
        (PHOTO, 7, r"expected the bytes or the path of a file \(image\), got int"),
        (PHOTO, "no/such.jpg", "No such file"),
        (PHOTO, b"GIF", "not an image; give another"),
        (PHOTO, png()[:60], "photo: .*; give another file, or leave it out"),
    ],
)
def test_wrong_values(column: Column, value: Any, message: str) -> None:
    with pytest.raises(RankError, match=message):
        column.raw(value, "candidate 2")


def test_rows_with_placeholders() -> None:
    rows = [{"title": "a", "price": 2}, {"title": None}, {"price": None}]
    got = inputs(TITLE, PRICE, QUERY).rows(("item",), rows, ["a", "b", "c"])
    assert got["title"].tolist() == ["a", "", ""]
    assert got["title_present"].tolist() == [True, False, False]
    assert got["price"].dtype == np.float32
    assert got["price"].tolist() == [2, 0, 0]
    assert got["price_present"].tolist() == [True, False, False]
    assert set(got) == {"title", "title_present", "price", "price_present"}


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_infinite_and_count_as_absent() -> None:
    rows = [{"price": 1e300}, {"price": 10**400}, {"price": -(10**400)}]
    got = inputs(PRICE).rows(("item",), rows, ["a", "b", "c"])
    assert got["price"].tolist() == [np.inf, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("titel", "candidate 0: unknown feature 'titel'; did you mean 'title'"),
        ("query", "'query' is a feature of side query"),
        ("history", "passed as the argument `history`"),
    ],
)
def test_unknown_features(name: str, message: str) -> None:
    with pytest.raises(RankError, match=message):
        inputs(TITLE, QUERY).rows(("item",), [{name: "x"}], ["candidate 0"])


def test_a_bare_query_is_its_only_text() -> None:
    got = inputs(QUERY, SEASON).context("query", "red kurta")
    assert got["query"].tolist() == ["red kurta"]
    assert got["season_present"].tolist() == [False]
    assert inputs(AGE).context("user", 30)["age"].tolist() == [30]
    assert not inputs(QUERY).context("query", None)["query_present"].any()


def test_a_bare_value_must_mean_one_feature() -> None:
    other = Column("other", "text", "query", "string", False)
    with pytest.raises(RankError, match="a mapping is needed.*query, other"):
        inputs(QUERY, other).context("query", "red")
    with pytest.raises(RankError, match="reads no feature of the user; leave `user` out"):
        inputs(QUERY).context("user", "u1")


def test_events_are_sorted_by_time() -> None:
    events = [("a", "view", 1.0), {"item": 5, "type": None, "age_days": 3}, ("b", "cart", 0)]
    got = inputs(QUERY).events(events)
    assert got["history_items"].tolist() == [["5", "a", "b"]]
    assert got["history_types"].tolist() == [["", "view", "cart"]]
    assert got["history_ages"].tolist() == [[3, 1, 0]]
    assert inputs(QUERY).events(None)["history_items"].shape == (1, 0)
    assert inputs(QUERY, history=None).events([]) == {}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("a", r"history\[0\]: expected \(item, type, age in days\)"),
        (("a", "view"), "expected .item, type, age"),
        ({"item": "a", "agedays": 1}, "unknown key 'agedays'; did you mean 'age_days'"),
        (("a", "view", -1), "age of 0 days or more, got -1"),
        (("a", "view", None), "age of 0 days"),
        (("a", 3, 1), "expected an event type, got 3"),
        (("", "view", 1), "the item id is empty"),
    ],
)
def test_wrong_events(event: Any, message: str) -> None:
    with pytest.raises(RankError, match=message):
        inputs(QUERY).events([event])


def test_events_for_a_ranker_without_history() -> None:
    with pytest.raises(RankError, match="reads no history"):
        inputs(QUERY, history=None).events([("a", "view", 1)])


def test_item_ids() -> None:
    assert item_id("007", "here") == "007"
    assert item_id(7, "here") == item_id(np.int64(7), "here") == "7"
    assert item_id(7.0, "here") == "7"  # as in a column of numbers with a gap
    assert item_id(10**400, "here") == str(10**400)
    with pytest.raises(RankError, match="here: expected an item id, got 1.5"):
        item_id(1.5, "here")
    with pytest.raises(RankError, match="here: the item id is empty"):
        item_id(" ", "here")


def test_bytes_and_paths_are_for_the_only_photo(tmp_path: pathlib.Path) -> None:
    seen = Column("seen", "image", "query", "string", True)
    file = tmp_path / "me.png"
    file.write_bytes(png())
    both = inputs(QUERY, seen)
    for value in (png(), file):
        arrays = both.context("query", value)
        assert arrays["seen"].tolist() == [png()]
        assert arrays["seen_present"].tolist() == [True]
        assert arrays["query_present"].tolist() == [False]
    assert both.context("query", "red")["query"].tolist() == ["red"]
    # If the query has no text, a path may also be given as a string.
    assert inputs(seen).context("query", str(file))["seen"].tolist() == [png()]
    with pytest.raises(RankError, match="a mapping is needed.*seen, other"):
        inputs(seen, Column("other", "image", "query", "string", True)).context("query", png())


def test_lone_surrogates_in_ids_and_events_are_replaced() -> None:
    assert item_id("a\ud800", "here") == "a\ufffd"
    assert read_events([("b\ud800", "view\udfff", 1)]) == [("b\ufffd", "view\ufffd", 1.0)]


def test_a_data_frame_is_not_a_list() -> None:
    with pytest.raises(RankError, match=r"history: .* got a DataFrame; give history\.to_dict"):
        read_events(pd.DataFrame({"item": ["a"], "type": ["view"], "age_days": [1]}))
    with pytest.raises(RankError, match="candidates: expected a list, got a DataFrame"):
        refuse_frame("candidates", pd.DataFrame({"item": ["a"]}))
    refuse_frame("candidates", pd.Series(["a"]))


def test_a_time_is_not_an_age() -> None:
    with pytest.raises(
        RankError, match=r"history\[0\]: .* got 1700000000, which looks like a time"
    ):
        read_events([("a", "view", 1_700_000_000)])
    assert read_events([("a", "view", 36_525)]) == [("a", "view", 36_525.0)]


def test_a_list_of_tags_is_written_as_a_table_would_have_it() -> None:
    assert TAGS.raw(["red", None, 38.0, np.float32("nan"), 38.5], "here") == "red|38|38.5"


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (5, "expected a list, got one int"),
        (None, "expected a list, got one NoneType"),
        ({"a": 1}, "expected a list, got one dict"),
        ({"a", "b"}, "got a set, which has no order"),
        (pd.DataFrame({"title": ["a"]}), "got a DataFrame"),
        (pd.DataFrame({"title": ["a"]}).iloc[0], r"got one row of a DataFrame; give \[row"),
        ((), "the list is empty"),
    ],
)
def test_values_that_are_not_a_list_of_candidates(candidates: Any, message: str) -> None:
    with pytest.raises(RankError, match=f"candidates: .*{message}"):
        listed(candidates, ["title"])


def test_a_column_of_candidates_is_a_list_whatever_its_index() -> None:
    assert listed(pd.Series(["a", "b"], index=[7, 7]), ["title"]) == ["a", "b"]
    assert listed(np.array(["a", "b"]), ["title"]) == ["a", "b"]


def test_a_data_frame_row_as_candidates_is_one_line() -> None:
    with pytest.raises(RankError, match="candidate 1: expected an item id") as caught:
        item_id(pd.Series({"title": "a", "price": 1}), "candidate 1")
    assert "\n" not in str(caught.value)
