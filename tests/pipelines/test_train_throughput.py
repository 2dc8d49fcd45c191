"""The benchmark at a tiny size: exact for every degree of reuse. Seconds are not asserted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmrank.data.tables import load_dataset
from pipelines.benchmarks.train_throughput import Bench, Row, differences, repeated_lists


@pytest.fixture(scope="module")
def bench(tiny_shop, tiny_config) -> Bench:
    model = dataclasses.replace(
        tiny_config.model, drop=("description", "rating", "rating_count", "sales", "tags")
    )
    return Bench(dataclasses.replace(tiny_config, model=model), load_dataset(tiny_shop), 20)


@pytest.mark.parametrize("reuse", [10, 20])
def test_the_batch_has_the_given_slots_per_item(bench, reuse):
    from mmrank.data.batches import Batches

    arrays, members = repeated_lists(bench.arrays, 20, reuse)
    assert len(members) == 20
    assert len(np.unique(members)) == 20 // reuse
    batch = Batches(arrays, 20, (8, 16, 32)).make(members)
    assert batch["mask"].sum() == reuse * len(batch["price"])


def test_scores_and_gradients_are_identical(bench):
    from mmrank.data.batches import Batches

    arrays, members = repeated_lists(bench.arrays, 20, 10)
    batches = Batches(arrays, 20, (8, 16, 32))
    once = batches.make(members)
    often = dataclasses.replace(batches, unique_items=False).make(members)
    assert len(often["price"]) == 10 * len(once["price"])
    scores, gradients = differences(bench.exact_step, once, often)
    assert scores["scores_differ"] <= 1e-5
    assert gradients["gradients_differ"] <= 1e-5


def test_too_little_data_is_an_error(bench):
    with pytest.raises(ValueError, match="lower --lists"):
        repeated_lists(bench.arrays, 400, 2)


@pytest.mark.parametrize(
    ("towers_often", "scores", "gradients", "verdict"),
    [
        (4.1, 0.0, 2e-5, "ok"),
        (3.9, 0.0, 0.0, "too slow"),
        (4.1, 2e-5, 0.0, "not exact"),
        (4.1, 0.0, 2e-4, "not exact"),
    ],
)
def test_the_verdict_requires_four_fifths_of_the_reuse(towers_often, scores, gradients, verdict):
    row = Row(5.0, 20, 2.0, 6.0, 1.0, towers_often, scores, gradients)
    assert row.to_text().endswith(f"  {verdict}")
