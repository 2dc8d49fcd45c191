"""Categories: one word of an open set, such as a brand or an id."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mmrank.data.findings import Finding
from mmrank.data.kinds.base import BY_NAME, CATEGORY, ONE_TEXT, Kind
from mmrank.data.kinds.words import MISSING_WORDS, words_for_missing
from mmrank.schema import Feature


class CategoryKind(Kind):
    """One word; the empty text is absent."""

    sides = ("query", "user", "item", "pair")
    encoder = "mmrank.encoders.category:Category"
    cells = ONE_TEXT
    in_words = True
    matched_by = BY_NAME
    bagged = True
    tabular = CATEGORY
    measures = ("name",)

    def doubt(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        return words_for_missing(file, values, MISSING_WORDS, "count as words")

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        return [[] if pd.isna(v) or str(v).strip() == "" else [str(v).strip()] for v in values]
