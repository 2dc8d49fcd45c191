"""Attributes in cells of any form become lines `name: value`."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mmrank.data.attributes import attribute_lines

LINES = "colour: red\nsize: 42\nnew: yes"


@pytest.mark.parametrize(
    "value",
    [
        {"colour": "red", "size": 42, "new": True},
        {"colour": " red ", "size": 42.0, "new": "true", "old": None, "none": "", "gone": np.nan},
        '{"colour": "red", "size": 42.0, "new": true, "old": null}',
        '  {"colour": "red", "size": 42, "new": true}\n',
        [{"name": "colour", "value": "red"}, {"key": "size", "value": 42}, ("new", True)],
        "colour: red; size: 42; new: yes",
        "colour:red;size=42\nnew : yes;",
        LINES,
    ],
)
def test_all_forms_give_the_same_lines(value: object) -> None:
    assert attribute_lines(value) == LINES
    assert attribute_lines(attribute_lines(value)) == LINES


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, "", " \u3000", {}, [], "{}", {"a": None}])
def test_no_attributes_are_an_empty_text(value: object) -> None:
    assert attribute_lines(value) == ""


def test_several_values_of_a_name_and_names_within_names() -> None:
    nested = {"ports": ["USB", "HDMI"], "screen": {"size_in": 15.6, "touch": False}}
    expected = "ports: USB\nports: HDMI\nscreen size in: 15.6\nscreen touch: no"
    assert attribute_lines(nested) == expected
    assert attribute_lines(json.dumps(nested)) == expected
    assert attribute_lines("ports: USB; HDMI; size: 1") == "ports: USB\nports: HDMI\nsize: 1"


def test_urls_and_times_are_not_names() -> None:
    assert attribute_lines("https://a.b; 10:30") == "https://a.b\n10:30"
    assert attribute_lines("from: 10:30; see: http://a.b") == "from: 10:30\nsee: http://a.b"


def test_a_line_break_in_a_value_does_not_start_a_line() -> None:
    assert attribute_lines({"a\nb": "c\r\n d", "e:f": 1}) == "a b: c d\ne f: 1"


def test_large_numbers_are_not_rounded() -> None:
    assert attribute_lines('{"ean": 9007199254740993}') == "ean: 9007199254740993"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('{"a": ', "begins like JSON, but is not JSON"),
        (42, "expected attributes, a mapping or a text, got 42"),
        (["red"], "expected {name: …, value: …}"),
        ("[" * 100_000, "begins like JSON, but is not JSON"),
    ],
)
def test_values_that_are_not_attributes_are_reported(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        attribute_lines(value)
