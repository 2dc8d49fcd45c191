"""The benchmark at a tiny size: the growth, and the bounds. Seconds are not asserted."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from pipelines.benchmarks.event_scaling import Cost, grow, main, train_once


def test_a_larger_shop_has_copies_of_the_same_users(tiny_shop, tmp_path):
    grow(tiny_shop, tmp_path / "grown", 3)
    assert not validate_dataset(tmp_path / "grown", media="none").errors
    small, large = load_dataset(tiny_shop), load_dataset(tmp_path / "grown")
    assert len(large.catalog) == len(small.catalog)
    for table, ids in (("lists", ["list_id", "user_id"]), ("events", ["user_id"])):
        before, after = getattr(small, table), getattr(large, table)
        assert len(after) == 3 * len(before)
        for column in ids:
            assert after[column].nunique() == 3 * before[column].nunique()
            of_copy = after[column].str.split("-").str[0]
            pd.testing.assert_series_equal(
                of_copy.value_counts().sort_index(),
                3 * before[column].value_counts().sort_index(),
                check_dtype=False,
            )


@pytest.mark.parametrize(
    ("seconds", "memory", "good"), [(110, 150, True), (111, 150, False), (110, 151, False)]
)
def test_the_bounds_for_ten_times_the_events(seconds, memory, good):
    before = Cost(1000, 10, 200, loading=4.0, training=6.0, memory=100 * 2**20)
    after = Cost(10_000, 100, 2000, 40.0, float(seconds - 40), memory * 2**20)
    assert after.within(before) == good
    assert after.to_text(before).endswith("  ok" if good else "  too much")


@pytest.mark.slow
def test_one_training_is_measured(tiny_shop, tiny_config, tmp_path):
    grow(tiny_shop, tmp_path / "grown", 2)
    drop = ("photo", "title", "description", "query", "history")
    config = dataclasses.replace(
        tiny_config,
        model=dataclasses.replace(tiny_config.model, drop=drop),
        training=dataclasses.replace(tiny_config.training, epochs=1, steps_per_epoch=1),
    )
    cost = train_once(tmp_path / "grown", config)
    assert (cost.lists, cost.events) == (80, len(load_dataset(tmp_path / "grown").events))
    assert cost.training > 0
    assert cost.memory > 100 * 2**20  # TensorFlow alone takes more


def test_sizes_that_do_not_grow_are_refused(capsys):
    assert main(["--events", "100", "10"]) == 2
    assert "ascending" in capsys.readouterr().err
