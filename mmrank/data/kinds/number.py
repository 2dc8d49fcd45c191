"""Numbers: prices, ratings, counts; and the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.cells import as_numbers, is_missing_word, texts
from mmrank.data.findings import GRADES, Finding, found
from mmrank.data.kinds.base import NUMBER, NUMBERS, Kind
from mmrank.schema import Feature

BUCKETS = 10
# A column is skewed if its 99th percentile is above 10 and above SKEWED times its median.
SKEWED = 20.0
MOST = float(np.finfo(np.float32).max)


class NumberKind(Kind):
    """A real number; NaN or infinite is absent. Labels are numbers, too."""

    sides = ("query", "user", "item", "pair", "label")
    encoder = "mmrank.encoders.number:Number"
    cells = NUMBERS
    bagged = True
    tabular = NUMBER
    numeric = True
    measures = ("value",)

    def check(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds values that are not numbers, grades below 0, and values too low for a label."""
        column, numbers = feature.column, as_numbers(values)
        wrong = np.isnan(numbers) & (texts(values) != "").to_numpy() & ~is_missing_word(values)
        yield from found(
            file,
            column,
            wrong,
            values,
            "values that are not numbers",
            "write them as numbers, or leave unknown ones empty",
        )
        if feature.name == "grade":
            remedy = "use 0 for an irrelevant item and higher grades for better ones"
            bad = np.isinf(numbers) | (numbers < 0)
            yield from found(
                file, column, bad, values, "grades that are negative or infinite", remedy
            )
            missing = np.isnan(numbers) & ~wrong
            yield from found(
                file, column, missing, values, "grades that are missing", remedy, concerns=GRADES
            )
            return
        yield from found(
            file,
            column,
            np.isinf(numbers),
            values,
            "infinite numbers",
            "they count as missing",
            fatal=feature.side == "label",
        )
        yield from found(
            file,
            column,
            np.isfinite(numbers) & (np.abs(numbers) > MOST),
            values,
            "numbers beyond 3.4e38, the limit of float32",
            "they count as missing",
            fatal=feature.side == "label",
        )
        lowest = 1 if feature.name == "position" else 0
        if feature.side == "label":
            yield from found(
                file,
                column,
                numbers < lowest,
                values,
                f"values below {lowest}",
                f"a {feature.name} is at least {lowest}",
            )

    def doubt(self, file: str, values: pd.Series, feature: Feature) -> Iterator[Finding]:
        """Finds values below 0 of a number that is taken by its logarithm."""
        if feature.options.get("log") is True:
            yield from found(
                file,
                feature.column,
                as_numbers(values) < 0,
                values,
                "values below 0 of a number with `log: true`",
                "they count as 0; remove `log`, or leave these cells empty if they mean unknown",
                fatal=False,
            )

    def guessed_options(self, values: pd.Series) -> dict[str, Any]:
        """The logarithm for skewed numbers, such as prices: a few are far above the median."""
        numbers = pd.Series(as_numbers(values)).dropna()
        if numbers.empty or numbers.min() < 0:
            return {}
        usual, high = numbers.quantile(0.5), numbers.quantile(0.99)
        return {"log": True} if high > 10 and high > SKEWED * max(usual, high / 1e6) else {}

    def bag(self, values: pd.Series, feature: Feature) -> list[list[str]]:
        """The decile of the catalogue that each number falls in."""
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        known = np.isfinite(numbers)
        if not known.any():
            return [[] for _ in numbers]
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BUCKETS + 1)[1:-1]))
        buckets = np.searchsorted(edges, numbers, side="right")
        return [[str(b)] if there else [] for b, there in zip(buckets, known, strict=True)]
