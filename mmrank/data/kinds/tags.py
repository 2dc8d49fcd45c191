"""Tags: a set of words in one separated text, or a list of words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.data.cells import texts
from mmrank.data.findings import Finding, whole
from mmrank.data.kinds.base import BY_NAME, TEXTS, Kind
from mmrank.schema import Feature

SEPARATORS = ("|", ",", ";", "/", "\t")
LISTS = (list, tuple, np.ndarray)
FEW = 0.1  # least share of cells with another separator that is reported


class TagsKind(Kind):
    """A set of words such as `red|cotton`; the empty text is absent."""

    sides = ("query", "user", "item")
    encoder = "mmrank.encoders.tags:Tags"
    cells = TEXTS
    in_words = True
    matched_by = BY_NAME
    bagged = True
    measures = ("count",)

    def doubt(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds tags that hold another separator than the one that the schema gives."""
        separator = _separator(feature)
        said = texts(values[[not isinstance(value, LISTS) for value in values]])
        said = said[said != ""]
        if not len(said) or said.str.contains(separator, regex=False).any():
            return
        if (said.str.startswith("[") & said.str.endswith("]")).all():
            yield whole(
                file,
                feature.column,
                f"values of {feature.name} that are lists written as texts, such as "
                f"{said.iloc[0]!r}, so each is one tag",
                f"separate the tags by {separator!r}, or use lists in Parquet or JSON lines",
                fatal=False,
            )
            return
        counts = {
            sign: int(said.str.contains(sign, regex=False).sum())
            for sign in SEPARATORS
            if sign != separator
        }
        sign = max(counts, key=lambda s: counts[s])
        if counts[sign] >= FEW * len(said):
            yield whole(
                file,
                feature.column,
                f"no value of {feature.name} contains its separator {separator!r}, but "
                f"{counts[sign]:,} of {len(said):,} contain {sign!r}, so each is one tag",
                f"set separator: {sign!r} for the feature {feature.name} in schema.yaml",
                fatal=False,
            )

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        separator = _separator(feature)
        split = []
        for value in values:
            if isinstance(value, str):
                value = value.split(separator)
            several = isinstance(value, LISTS)
            split.append([str(v).strip() for v in value if str(v).strip()] if several else [])
        return split


def _separator(feature: Feature) -> str:
    return str(feature.options.get("separator", "|"))
