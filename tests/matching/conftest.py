"""Fixtures that the tests of matching share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def distance() -> Callable[[str, str], int]:
    """The restricted Damerau-Levenshtein distance: no substring is edited more than once."""

    def count(one: str, other: str) -> int:
        """Counts insertions, deletions, replacements and swaps by the table of all prefixes."""
        table = {(i, 0): i for i in range(len(one) + 1)}
        table |= {(0, j): j for j in range(len(other) + 1)}
        for i, j in itertools.product(range(1, len(one) + 1), range(1, len(other) + 1)):
            cost = one[i - 1] != other[j - 1]
            ways = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + cost]
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 2 : j][::-1]:
                ways.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(ways)
        return table[len(one), len(other)]

    return count
