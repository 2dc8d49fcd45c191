"""Attributes: sparse typed facts of an item, such as colour, weight and ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mmrank.data.attributes import attribute_lines
from mmrank.data.conversion import well_formed
from mmrank.data.findings import Finding
from mmrank.data.kinds.base import BY_WORDS, Kind, RawForm, check_cells
from mmrank.schema import Feature


class AttributesKind(Kind):
    """Names and values, as lines `name: value`; the empty text is absent."""

    sides = ("query", "user", "item")
    encoder = "mmrank.encoders.attributes:Attributes"
    facts = ("attributes",)
    matched_by = BY_WORDS
    bagged = True
    measures = ("count",)

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        return check_cells(
            file,
            values,
            feature,
            attribute_lines,
            "attributes that cannot be read",
            "write them as JSON {name: value}, or as `name: value; name: value`",
        )

    def text(self, value: Any) -> str:
        return attribute_lines(value)

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        return [[line.casefold() for line in attribute_lines(v).splitlines()] for v in values]

    def raw(self, value: Any, form: RawForm) -> Any:
        """The attributes as one text; None if there are none."""
        return well_formed(attribute_lines(value)) or None
