"""Finds implausible times: dates written as numbers, units other than seconds, open ends."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mmrank.data.cells import seconds
from mmrank.data.checks import FAR_SECONDS, as_numbers
from mmrank.data.findings import Finding, found

EARLY = datetime.datetime(1990, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
EXCEL_DAYS = (25_569, 73_050)  # the years 1970 and 2100 in Excel's count of days
# Name of a unit, how many make a second, and the greatest number that is taken for this unit.
UNITS = (("milliseconds", 1e3, 1e14), ("microseconds", 1e6, 1e17), ("nanoseconds", 1e9, np.inf))


def plausible_times(file: str, times: pd.Series) -> Iterator[Finding]:
    """Finds numbers that are not seconds since 1970, and dates that mean an open end, as warnings.

    Args:
      file: File of the column.
      times: The column.
    """
    read, numbers = seconds(times), as_numbers(times)
    known = np.isfinite(numbers)
    as_dates = known & _are_dates(numbers)
    excel = known & ~as_dates & (numbers >= EXCEL_DAYS[0]) & (numbers <= EXCEL_DAYS[1])
    findings = [
        (
            as_dates,
            "times that look like dates written as numbers, such as 20231114",
            "write them as 2023-11-14, or as seconds since 1970",
        ),
        (
            excel,
            "times that look like Excel day numbers",
            "write them as ISO dates, or as seconds since 1970: (days - 25569) * 86400",
        ),
        (
            np.isfinite(read) & (read < EARLY) & ~as_dates & ~excel,
            "times before 1990",
            "times are seconds since 1970; leave unknown times empty",
        ),
        (
            ~known & np.isfinite(read) & (np.abs(read) > FAR_SECONDS),
            "dates beyond the year 5000",
            "leave unknown times empty",
        ),
    ]
    for name, parts, most in UNITS:
        far = known & ~as_dates & (numbers > FAR_SECONDS * parts / 1e3) & (numbers <= most)
        findings.append((far, f"times that look like {name}", f"divide them by {parts:.0f}"))
    for wrong, what, remedy in findings:
        yield from found(file, str(times.name), wrong, times, what, remedy, fatal=False)


def _are_dates(numbers: np.ndarray) -> np.ndarray:
    """Whether a number is the digits of a day from 1990 to 2100, with or without a time, [rows]."""
    finite = np.isfinite(numbers) & (np.abs(numbers) < 1e15)
    digits = np.where(finite, numbers, 0.0).astype(np.int64)
    inside = np.zeros(len(numbers), dtype=bool)
    for clock in (1, 10_000, 1_000_000):  # after the day: nothing, HHMM, HHMMSS
        inside |= _are_days(digits // clock) & _are_clocks(digits % clock, clock)
    return np.asarray(inside & (digits == numbers))


def _are_days(digits: np.ndarray) -> np.ndarray:
    year, month, day = digits // 10_000, digits // 100 % 100, digits % 100
    inside = (year >= 1990) & (year <= 2100) & (month >= 1) & (month <= 12)
    return np.asarray(inside & (day >= 1) & (day <= 31))


def _are_clocks(digits: np.ndarray, clock: int) -> np.ndarray:
    hours, minutes = digits * 100 // clock, digits * 10_000 // clock % 100
    return np.asarray((hours < 24) & (minutes < 60) & (digits % 100 < 60))
