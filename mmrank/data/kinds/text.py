"""Texts of any language: titles, descriptions, queries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.cells import texts
from mmrank.data.findings import Finding
from mmrank.data.kinds.base import BY_WORDS, ONE_TEXT, Kind, Seen
from mmrank.data.kinds.words import MISSING_WORDS, words_for_missing
from mmrank.data.words import count_words, tokens
from mmrank.schema import Feature

SAMPLE = 2000  # texts that are inspected


class TextKind(Kind):
    """A text; the empty text is absent."""

    sides = ("query", "user", "item")
    encoder = "mmrank.encoders.text:Text"
    cells = ONE_TEXT
    typed = True
    in_words = True
    matched_by = BY_WORDS
    bagged = True
    measures = ("characters", "script")

    def doubt(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        return words_for_missing(file, values, MISSING_WORDS, "count as words")

    def count_empty(self, values: pd.Series, feature: Feature) -> int | None:
        return int(texts(values).eq("").sum())

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        return [tokens(v) if isinstance(v, str) else [] for v in values]

    def default_size(self, seen: Seen) -> tuple[dict[str, Any], str] | None:
        words = _longest(seen)
        hidden = 64 if seen.small else 128
        options = {
            "layers": 2 if seen.large else 1,
            "hidden": hidden,
            "heads": 4,
            "intermediate": 2 * hidden,
            "max_tokens": int(min(64, max(8, 8 * math.ceil((1.4 * words + 2) / 8)))),
            "vocabulary_size": 8000 if seen.large else 3000,
        }
        return options, f"19 in 20 texts have at most {words} words"


def _longest(seen: Seen) -> int:
    """Words of the longest of twenty texts; each Chinese, Japanese or Korean character is one."""
    longest = 1
    for feature in seen.schema.features:
        if feature.kind != "text":
            continue
        table = seen.dataset.catalog if feature.side == "item" else seen.rows
        step = max(len(table) // SAMPLE, 1)
        counts = count_words(texts(table[feature.column].iloc[::step]))
        if len(counts):
            longest = max(longest, int(np.quantile(counts, 0.95)))
    return longest
