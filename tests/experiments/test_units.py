"""Tables of outcomes by unit: sums, windows, ratios, and what cannot be used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmrank.config import ConfigError
from mmrank.data.findings import DataError
from mmrank.experiments.units import DAY, Metric, Units, units_of

CLICKS, RATIO = Metric("clicks"), Metric("clicks", "pages")


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": ["u", "v", "u", "w", "x", "x"],
            "arm": [10, 10, 10, 9, 9, 9],
            "clicks": [1, 0, 2, 5, 1, 0],
            "pages": 1,
            "time": np.array([0.0, 0.2, 3.0, 0.5, 0.6, 1.0]) * DAY,
        }
    )


def read(frame: pd.DataFrame, **options: object) -> Units:
    given = {"unit": "user", "by": "arm", "metrics": [CLICKS, RATIO], **options}
    return units_of(frame, "t.csv", **given)  # type: ignore[arg-type]


def test_sums_by_unit_with_the_control_first() -> None:
    units = read(table())
    assert units.groups == ("9", "10")  # as numbers, not as texts
    assert [v.tolist() for v in units.values(CLICKS)] == [[5, 1], [3, 0]]
    assert read(table(), control="10").groups == ("10", "9")
    assert units.counts().tolist() == [2, 2]


def test_order_of_rows_does_not_matter() -> None:
    units, shuffled = read(table()), read(table().sample(frac=1, random_state=1))
    assert [v.tolist() for v in units.values(RATIO)] == [v.tolist() for v in shuffled.values(RATIO)]


def test_a_ratio_has_the_variance_of_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    pages = rng.integers(1, 6, 400).astype(float)
    clicks = rng.poisson(0.7 * pages).astype(float)
    units = Units(("a",), np.zeros(400, int), {"clicks": clicks, "pages": pages}, None)
    [values] = units.values(RATIO)
    ratio = clicks.sum() / pages.sum()
    assert values.mean() == pytest.approx(ratio)
    # Deng et al. 2018: (var y − 2 R cov + R² var x) / mean(x)²
    cov = np.cov(clicks, pages)
    expected = (cov[0, 0] - 2 * ratio * cov[0, 1] + ratio**2 * cov[1, 1]) / pages.mean() ** 2
    assert values.var(ddof=1) == pytest.approx(expected)


def test_a_window_counts_from_the_first_row_and_leaves_out_units_that_are_not_complete() -> None:
    units = read(table(), time="time", window=1.0)
    assert [v.tolist() for v in units.values(CLICKS)] == [[5, 1], [1, 0]]  # the third day is out
    assert units.complete is not None
    assert (units.complete / DAY).round(6).tolist() == [1.0, 1.2, 1.5, 1.6]
    assert units.incomplete == 0
    late = pd.concat([table(), pd.DataFrame([["y", 9, 4, 1, 2.5 * DAY]], columns=list(table()))])
    assert read(late, time="time", window=1.0).incomplete == 1
    assert read(late).counts().tolist() == [3, 2]


def test_units_in_several_groups() -> None:
    frame = table()
    frame.loc[5, "arm"] = 10
    with pytest.raises(DataError, match=r"1 of 4 values of 'user' are in several groups.*'x'"):
        read(frame)
    frame = pd.concat([frame, frame[frame["user"] == "w"].assign(user="z")])
    units = read(frame, leave_out_mixed=True)
    assert units.mixed == 1
    assert units.counts().tolist() == [2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="clicks"), r"no column 'clicks'; known: .*arm"),
        (lambda t: t.rename(columns={"arm": "arms"}), "no column 'arm'; did you mean 'arms'"),
        (lambda t: t.assign(arm=9), "expected two groups or more, found only '9'"),
        (lambda t: t.assign(clicks=[1, None, 2, 5, 1, 0]), r"'clicks': 1 value\(s\), row 2"),
        (lambda t: t.assign(clicks=[1, 0, 2, 5, 1, np.inf]), r"row 6: inf: is no number"),
        (lambda t: t.assign(user=[None, *t["user"][1:]]), r"'user': 1 value\(s\), row 1"),
        (lambda t: t.assign(arm=["a", None, "a", "b", "b", "b"]), r"'arm': 1 value\(s\), row 2"),
        (lambda t: t[t["user"] != "x"], "fewer than two units in group '9'"),
        (lambda t: t[:0], "found none"),
    ],
)
def test_wrong_tables(change: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(change(table()))  # type: ignore[operator]


def test_wrong_times_and_controls() -> None:
    with pytest.raises(DataError, match="row 1: 'soon': is no time"):
        read(table().assign(time=["soon", *["2026-01-01"] * 5]), time="time", window=0.0)
    with pytest.raises(DataError, match="--control: no group 'nine'"):
        read(table(), control="nine")
    with pytest.raises(ValueError, match="a window needs the times"):
        read(table(), window=1.0)
    with pytest.raises(DataError, match="pages is 0 for all units of 9"):
        read(table().assign(pages=[1, 1, 1, 0, 0, 0])).values(RATIO)


def test_metrics() -> None:
    assert Metric.parse("clicks") == CLICKS
    assert str(Metric.parse("clicks/pages")) == "clicks/pages"
    for wrong in ("", "/pages", "clicks/"):
        with pytest.raises(ConfigError, match="write it as clicks or clicks/pages"):
            Metric.parse(wrong)
