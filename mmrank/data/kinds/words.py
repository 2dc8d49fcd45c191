"""What kinds of words have in common: words that mean a missing value."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pandas as pd

from mmrank.data.cells import texts
from mmrank.data.findings import Finding, found

MISSING_WORDS = ("nan", "NaN", "NaT", "<NA>", "#N/A", "\\N")


def words_for_missing(
    file: str, values: pd.Series, words: Collection[str], so: str
) -> Iterator[Finding]:
    """Finds words that programs write for a missing value, where they count as present values.

    Args:
      file: The table, as the schema names it.
      values: A column.
      words: The words.
      so: How the ranker takes them.
    """
    yield from found(
        file,
        str(values.name),
        texts(values).isin(words),
        values,
        f"words that often mean a missing value, but {so}",
        "leave these cells empty if the value is unknown",
        fatal=False,
    )
