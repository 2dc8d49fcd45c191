"""Profiles of columns: statistics of their values."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np
import pandas as pd

from mmrank.data.conversion import texts_of
from mmrank.data.kinds import KINDS
from mmrank.data.kinds.media import MediaKind
from mmrank.defaults import words

SAMPLE = 5000
MEDIA = {name: k.endings for name, k in KINDS.items() if isinstance(k, MediaKind)}
_DATE = re.compile(r"(19|20)\d\d-[01]\d-[0-3]\d([T ][0-2]\d:[0-5]\d.*)?")
_SCRIPTS = {
    "Chinese": r"[㐀-鿿]",
    "Japanese": r"[぀-ヿ]",
    "Korean": r"[가-힣]",
    "Cyrillic": r"[Ѐ-ӿ]",
    "Arabic": r"[؀-ۿ]",
    "Latin": r"[A-Za-zÀ-ɏ]",
}
_COMMON = {
    "English": {"the", "and", "for", "with", "of", "in", "a", "to"},
    "German": {"der", "die", "und", "mit", "für", "das", "von", "ein"},
    "French": {"le", "la", "et", "de", "pour", "les", "avec", "des"},
    "Spanish": {"el", "la", "de", "para", "con", "los", "y", "en"},
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """Statistics of the values of one column.

    Attributes:
      name: The column.
      rows: Number of rows of its table.
      filled: Share of the rows that have a value.
      distinct: Number of distinct values.
      numeric: Share of the values that are numbers.
      whole, negative: Shares of the numbers that are whole, and that are below 0.
      skewed: Whether a few numbers are far above the median.
      dates: Share of the values that are dates.
      words: Mean number of words of a value.
      longest: Number of characters of the longest value.
      nested: `list`, `vector` or `mapping` if cells hold these, or None.
      media: Kind of the files that the values name, or None.
      separator: Separator between several words within a value, or None.
    """

    name: str
    rows: int
    filled: float
    distinct: int
    numeric: float = 0.0
    whole: float = 0.0
    negative: float = 0.0
    skewed: bool = False
    dates: float = 0.0
    words: float = 0.0
    longest: int = 0
    nested: str | None = None
    media: str | None = None
    separator: str | None = None

    @property
    def unique(self) -> bool:
        """Whether every row has a value, and all values are distinct."""
        return self.filled == 1 and self.distinct == self.rows > 1

    @property
    def variety(self) -> float:
        """Number of distinct values divided by the number of values."""
        return self.distinct / max(self.filled * self.rows, 1)


def profile(column: pd.Series) -> Profile:
    """Returns the profile of a column.

    `filled` and `distinct` count all values; the other statistics are of an even sample.
    """
    known = column.dropna()
    first = known.iloc[0] if len(known) else None
    if isinstance(first, (list, tuple, np.ndarray, dict)):
        return Profile(
            str(column.name), len(column), len(known) / len(column), len(known),
            nested=_nesting(first),
        )  # fmt: skip
    texts = texts_of(column).astype("string").fillna("").str.strip()
    texts = texts[texts != ""]
    made = Profile(
        str(column.name), len(column), len(texts) / max(len(column), 1), int(texts.nunique())
    )
    if not len(texts):
        return made
    some = texts.iloc[:: max(len(texts) // SAMPLE, 1)]
    numbers = pd.to_numeric(some, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_number = np.isfinite(numbers)
    # A text with leading zeros, such as 007, is a code and not a number.
    is_number &= ~some.str.match(r"[+-]?0\d").to_numpy(dtype=bool)
    values = numbers[is_number]
    counts = words(some)
    return dataclasses.replace(
        made,
        numeric=float(is_number.mean()),
        whole=float((values % 1 == 0).mean()) if len(values) else 0.0,
        negative=float((values < 0).mean()) if len(values) else 0.0,
        skewed=_skewed(values),
        dates=float(some.str.fullmatch(_DATE.pattern).mean()),
        words=float(counts.mean()) if len(counts) else 0.0,
        longest=int(some.str.len().max()),
        media=_media(some),
        separator=_separator(some),
    )


def language(column: pd.Series) -> str:
    """Guesses the language of some texts from their scripts and most common words."""
    texts = texts_of(column).dropna().astype(str)
    some = " ".join(texts.iloc[:: max(len(texts) // 500, 1)].head(500))
    counts = {name: len(re.findall(script, some)) for name, script in _SCRIPTS.items()}
    total = sum(counts.values())
    if not total:
        return "no letters"
    if counts["Japanese"] > 0.1 * total:
        return "Japanese"
    large = [n for n, count in counts.items() if count > 0.1 * total]
    if large != ["Latin"]:
        return " and ".join(large)
    tokens = re.findall(r"\w+", some.lower())
    shares = {n: sum(t in known for t in tokens) for n, known in _COMMON.items()}
    best = max(shares, key=lambda n: shares[n])
    return best if shares[best] > 0.01 * len(tokens) else "Latin letters"


def ending_of(name: str) -> str:
    """Returns the suffix of a file's name in lower case, with its dot.

    Example:
      >>> ending_of("Photos/1.JPG")
      '.jpg'
    """
    return pathlib.PurePosixPath(name.replace("\\", "/")).suffix.lower()


def _nesting(value: object) -> str:
    if isinstance(value, dict):
        return "mapping"
    entries = list(value)  # type: ignore[call-overload]
    plain = all(isinstance(e, (int, float, np.number)) for e in entries)
    return "vector" if entries and plain else "list"


def _skewed(values: np.ndarray) -> bool:
    if len(values) < 20 or values.min() < 0:
        return False
    usual, high = np.quantile(values, [0.5, 0.99])
    return bool(high > 10 and high > 5 * max(usual, 1.0))


def _media(texts: pd.Series) -> str | None:
    endings = texts.map(ending_of)
    for kind, known in MEDIA.items():
        if endings.isin(known).mean() > 0.9:
            return kind
    return None


def _separator(texts: pd.Series) -> str | None:
    for mark in ("|", ";"):
        if texts.str.contains(mark, regex=False).mean() > 0.2:
            parts = texts.str.split(mark).explode()
            if parts.str.len().mean() < 25 and parts.nunique() < 0.5 * len(parts):
                return mark
    return None
