"""Whether the groups have the sizes that the assignment should have given them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mmrank.data.findings import DataError

__all__ = ["LEAST_P", "check_shares"]

LEAST_P = 0.001


def check_shares(groups: Sequence[str], counts: Sequence[int], shares: Sequence[float]) -> float:
    """Returns the p-value of the groups' sizes, given the shares that were intended.

    Args:
      groups: Names of the groups.
      counts: Units of each.
      shares: Intended shares; only their proportions matter.

    Raises:
      DataError: There is a sample ratio mismatch: a p-value below `LEAST_P`. Such an experiment
        lost or moved units for a reason that may depend on the outcome, so that its outcome says
        nothing.

    Source: Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments"
      (KDD 2019).

    Example:
      >>> round(check_shares(["a", "b"], [500, 540], [1, 1]), 3)
      0.215
      >>> check_shares(["a", "b"], [500, 700], [1, 1])
      Traceback (most recent call last):
      mmrank.data.findings.DataError: sample ratio mismatch: a has 500 units, b 700, ...
    """
    intended = np.asarray(shares, dtype=np.float64)
    expected = sum(counts) * intended / intended.sum()
    p = float(stats.chisquare(counts, expected).pvalue)
    if p < LEAST_P:
        found = ", ".join(
            f"{group} {'has ' if i == 0 else ''}{count:,}{' units' if i == 0 else ''}"
            for i, (group, count) in enumerate(zip(groups, counts, strict=True))
        )
        wanted = ", ".join(f"{count:,.0f}" for count in expected)
        raise DataError(
            f"sample ratio mismatch: {found}, where {wanted} were expected (p = {p:.2g}). The "
            "groups are not comparable: find out where units were lost, or give the intended "
            "shares with --shares"
        )
    return p
