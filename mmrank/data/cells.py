"""The cells of a column as plain texts, as plain numbers, as times and as ids."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmrank.data.conversion import MISSING, texts_of


def texts(column: pd.Series) -> pd.Series:
    """The values as stripped text, "" where missing.

    Example:
      >>> texts(pd.Series([" red ", None])).tolist()
      ['red', '']
    """
    return column.astype("string").fillna("").str.strip()


def as_numbers(column: pd.Series) -> np.ndarray:
    """The values as float64, NaN where missing or not a number.

    Example:
      >>> as_numbers(pd.Series(["1.5", "", "cheap"])).tolist()
      [1.5, nan, nan]
    """
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(texts(column), errors="coerce")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def is_missing_word(values: pd.Series) -> np.ndarray:
    """Which cells say that a value is missing, such as `n/a`, [rows] bool."""
    return texts(values).isin(MISSING).to_numpy()


def seconds(times: pd.Series) -> np.ndarray:
    """Times as float64 seconds since 1970, from numbers, dates or ISO texts; NaN where missing."""
    if pd.api.types.is_bool_dtype(times):
        return np.full(len(times), np.nan)
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(times):
        return _since_1970(pd.to_datetime(times, utc=True))
    written = times.astype("string")  # may mix the forms of ISO 8601 and numbers
    numbers = pd.to_numeric(written, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    # A number is never read as a date: the digits 1712050800 do not mean the 8th of May 1712.
    dates = written.mask(~np.isnan(numbers))
    read = _since_1970(pd.to_datetime(dates, format="ISO8601", errors="coerce", utc=True))
    return np.where(np.isnan(numbers), read, numbers)


def _since_1970(times: pd.Series) -> np.ndarray:
    # Microseconds, because nanoseconds end in the year 2262, and an open end may be the year 9999.
    micros = times.dt.as_unit("us")
    since = micros.astype("int64").to_numpy(dtype=np.float64) / 1e6
    return np.where(micros.isna(), np.nan, since)


def as_ids(column: pd.Series) -> pd.Series:
    """Ids as text, so that 17 in one file equals "17" in another; missing values stay missing."""
    # One text object per distinct id, not per row: these objects are most of a log's memory.
    codes, ids = pd.factorize(texts_of(column))
    table = np.array([*ids, pd.NA], dtype=object)
    return pd.Series(table[codes], column.index, dtype=object, name=column.name)
