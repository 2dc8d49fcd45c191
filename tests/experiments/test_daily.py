"""Looks by day: what each look sees, and that looking often finds nothing that is not there."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.experiments.daily import LEAST_UNITS, daily_looks
from mmrank.experiments.units import DAY, Metric, Units

CLICKS, BUYS = Metric("clicks"), Metric("buys")


def drawn(days: int, daily: int, lift: float, seed: int, groups: int = 2) -> Units:
    rng = np.random.default_rng(seed)
    group = np.tile(np.repeat(np.arange(groups), daily), days)
    complete = np.repeat(np.arange(days), groups * daily) * DAY + 7 * DAY + 5.0
    sums = {
        "clicks": rng.normal(1 + lift * (group == 1), 1.0),
        "buys": rng.poisson(0.5, len(group)).astype(float),
    }
    return Units(tuple("abc"[:groups]), group, sums, complete)


def test_a_look_sees_the_units_that_are_complete() -> None:
    units = drawn(days=4, daily=20, lift=0.3, seed=0)
    looks = daily_looks(units, [CLICKS], planned=100)
    assert [look.day for look in looks] == [2, 3, 4]  # at least LEAST_UNITS of each group
    assert LEAST_UNITS == 30
    assert [look.units for look in looks] == [80, 120, 160]
    for look in looks:
        control, values = (v[: 20 * look.day] for v in units.values(CLICKS))
        assert look.difference == pytest.approx(values.mean() - control.mean())
        assert look.low < look.difference < look.high


def test_earlier_looks_stay_when_days_are_added() -> None:
    long, short = drawn(6, 40, 0.2, seed=1), drawn(3, 40, 0.2, seed=1)
    head = slice(0, len(short.group))
    short = Units(long.groups, long.group[head], {"clicks": long.sums["clicks"][head]},
                  long.complete[head] if long.complete is not None else None)  # fmt: skip
    assert daily_looks(long, [CLICKS], planned=300)[:3] == daily_looks(short, [CLICKS], planned=300)


def test_p_values_never_rise_and_holm_counts_all_comparisons() -> None:
    looks = daily_looks(drawn(10, 40, 0.5, 2, groups=3), [CLICKS, BUYS], planned=1000)
    assert {(look.metric, look.group) for look in looks} == {
        (metric, group) for metric in ("clicks", "buys") for group in "bc"
    }
    for metric, group in (("clicks", "b"), ("buys", "c")):
        p = [look.p_value for look in looks if (look.metric, look.group) == (metric, group)]
        assert p == sorted(p, reverse=True)
    last = {(k.metric, k.group): k for k in looks[-4:]}["clicks", "b"]
    assert last.p_holm == pytest.approx(4 * last.p_value)
    assert last.p_holm <= 0.05


def test_looking_every_day_finds_nothing_that_is_not_there() -> None:
    found = [
        min(look.p_holm for look in daily_looks(drawn(20, 40, 0.0, seed), [CLICKS], planned=800))
        for seed in range(200)
    ]
    # At 5% each, 18 or more of 200 happen with a probability of 1.2%.
    assert sum(p <= 0.05 for p in found) < 18


def test_no_look_before_there_is_a_spread() -> None:
    units = drawn(3, 40, 0.0, seed=0)
    same = Units(units.groups, units.group, {"clicks": np.ones(len(units.group))}, units.complete)
    assert daily_looks(same, [CLICKS], planned=100) == []
    with pytest.raises(ValueError, match="need outcomes with a window"):
        daily_looks(Units(units.groups, units.group, units.sums, None), [CLICKS], planned=100)
