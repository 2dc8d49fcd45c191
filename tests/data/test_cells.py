"""Cells of a column as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.cells import seconds


def test_seconds_of_every_form() -> None:
    texts = pd.Series(["1970-01-01", "1970-01-02T01:00:00+01:00", "nonsense", None, "86401.5"])
    np.testing.assert_array_equal(seconds(texts), [0, 86_400, np.nan, np.nan, 86_401.5])
    np.testing.assert_array_equal(seconds(pd.Series([5, None], dtype="Int64")), [5, np.nan])
    dates = pd.Series(pd.to_datetime(["1970-01-01 00:01", None]))
    np.testing.assert_array_equal(seconds(dates), [60, np.nan])
