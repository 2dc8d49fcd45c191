"""The check for replaced words: names, texts, strings, exceptions, and this repository."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from types import ModuleType

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ALL = frozenset({"names", "texts", "strings"})
WORDS = """
words:
  - {words: [shopper, shoppers], instead: user}
  - {words: [place], instead: position, in: [names]}
  - {words: [to the last bit], instead: bitwise, in: [texts, strings]}
allowed:
  - {files: old/*, why: not rewritten yet}
  - {files: "*", text: ^in_place$, in: [names], why: an idiom}
"""


@pytest.fixture(scope="module")
def check(load_ci_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_ci_script("check_words")


@pytest.fixture(scope="module")
def listed(check, tmp_path_factory) -> tuple:
    file = tmp_path_factory.mktemp("words") / "words.yaml"
    file.write_text(WORDS, encoding="utf-8")
    return check.read_words(file)


def test_this_repository_has_none(check, capsys) -> None:
    code = check.main([])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def _by_shopper():\n    pass\n", [1]),
        ("class NewShoppers:\n    pass\n", [1]),
        ("SHOPPERS = 3\n", [1]),
        ("def f(shopper):\n    pass\n", [1]),
        ("def f(self):\n\n    self.shopper = 1\n", [3]),
        ("import os as place\n", [1]),
        ("shopperless = other.shopper\n", []),  # another word, and a name that is only used
        ("def in_place():\n    pass\n", []),  # allowed
        ("x = 1  # a shopper\n", [1]),
        ('"""Of the place.\n\nA shopper.\n"""\n', [3]),  # `place` is checked in names only
        ('x = "shopper"\n', []),  # a key
        ('x = "no shopper here"\n', [1]),
        ('x = f"equal {y} to the last bit"\n', [1]),
        ("x = 1  # the `shopper` column\n", []),  # a quoted name
    ],
)
def test_of_a_module(check, listed, text: str, found: list[int]) -> None:
    lines = check.find("a/module.py", text, *listed, ALL)
    assert [int(line.split(":")[1]) for line in lines] == found


def test_strings_are_checked_on_request(check, listed) -> None:
    text = 'x = "no shopper here"\n'
    assert check.find("a.py", text, *listed, frozenset({"names", "texts"})) == []


def test_of_a_page_and_a_file_name(check, listed) -> None:
    page = "# Users\n\nA Shopper, equal to the last bit.\n"
    assert check.find("docs/a.md", page, *listed, ALL) == [
        "docs/a.md:3: 'Shopper': write user",
        "docs/a.md:3: 'to the last bit': write bitwise",
    ]
    assert check.find("a/shoppers.py", "", *listed, ALL) == [
        "a/shoppers.py:1: 'shoppers' in the name shoppers: write user"
    ]
    assert check.find("old/a.md", page, *listed, ALL) == []
