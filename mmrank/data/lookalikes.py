"""Ids that differ only in how they are written: such ids are reported and never joined."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping

import pandas as pd

ENOUGH = 0.5  # least share of unknown ids that equal known ones in another way of writing
_LOOKED_AT = 1_000
_UNSEEN = re.compile("[\\s\u00ad\u200b-\u200f\u2060\ufeff]+")

# Ways of writing, in the order in which they are tried.
WAYS: Mapping[str, Callable[[str], str]] = {
    "white space": lambda text: _UNSEEN.sub("", text),
    "the Unicode form": lambda text: unicodedata.normalize("NFKC", text),
    "upper and lower case": str.casefold,
    "leading zeros": lambda text: text.lstrip("0"),
    "a trailing point and zeros": lambda text: re.sub(r"\.0+$", "", text),
}


def other_writing(unknown: pd.Series, known: Collection[str]) -> str:
    """How unknown ids differ from known ones, as the end of a message; empty if unexplained.

    Args:
      unknown: Unknown ids, as text.
      known: Known ids.
    """
    some = unknown.drop_duplicates().iloc[:_LOOKED_AT]
    for what, written in WAYS.items():
        there = {written(str(other)) for other in known}
        if some.map(lambda i, w=written, t=there: w(i) in t).mean() >= ENOUGH:
            return f", but equal to known ids except for {what}"
    return ""
