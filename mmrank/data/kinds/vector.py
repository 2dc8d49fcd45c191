"""Vectors: embeddings and other lists of numbers that were computed elsewhere."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any, ClassVar

import pandas as pd

from mmrank.data.findings import Finding
from mmrank.data.kinds.base import Kind, RawForm, cells_found
from mmrank.data.vectors import read_vector, vector_text
from mmrank.schema import Feature


class VectorKind(Kind):
    """A list of numbers, always of the same length."""

    sides: ClassVar[tuple[str, ...]] = ("query", "user", "item", "pair")
    encoder = "mmrank.encoders.vector:Vector"
    numeric = True

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds cells that hold no valid vector, or a vector of another length than most."""
        problems: dict[int, str] = {}
        lengths: dict[int, int] = {}
        for row, value in enumerate(values):
            try:
                vector = read_vector(value)
            except ValueError as error:
                problems[row] = str(error)
            else:
                if vector is not None:
                    lengths[row] = len(vector)
        if lengths:
            usual = collections.Counter(lengths.values()).most_common(1)[0][0]
            other = {row: n for row, n in lengths.items() if n != usual}
            problems |= {
                row: f"has {n} numbers, the others have {usual}" for row, n in other.items()
            }
        yield from cells_found(
            file,
            feature,
            problems,
            "vectors that cannot be used",
            "give every value the same count of finite numbers, or leave it empty if unknown",
        )

    def raw_cell(self, value: Any, form: RawForm) -> Any:
        vector = read_vector(value)
        return None if vector is None else vector_text(vector)
