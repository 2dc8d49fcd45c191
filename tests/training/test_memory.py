"""The estimate of a step's memory, and the free memory that Linux reports."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from mmrank.build import build_features, build_model
from mmrank.config import Config
from mmrank.data.batches import Batches
from mmrank.data.tables import Dataset
from mmrank.training.memory import available_bytes, estimate_step_bytes


@pytest.fixture(scope="module")
def estimates(quick_config: Config, shop: Dataset) -> tuple[int, list[int], list[int]]:
    """Bytes of the weights; of batches of 2, 4 and 8 lists; and of the steps on these batches."""
    model = dataclasses.replace(
        quick_config.model, drop=(*quick_config.model.drop, "title", "query")
    )
    config = dataclasses.replace(quick_config, model=model)
    features = build_features(config, shop.schema)
    features.fit(shop)
    batches = Batches(features.arrays(shop, shop.rows("train")), 8, (32,))
    ranker = build_model(config, features)
    made = [batches.make(np.arange(lists)) for lists in (2, 4, 8)]
    fed = [sum(a.nbytes for a in batch.values()) for batch in made]
    steps = [estimate_step_bytes(ranker, ranker.encoders, batch) for batch in made]
    return 4 * ranker.network.count_params(), fed, steps


def test_memory_includes_weights_gradients_moments_and_the_batch(estimates):
    weights, fed, steps = estimates
    for batch, step in zip(fed, steps, strict=True):
        assert step > 4 * weights + batch


def test_the_rest_grows_with_the_lists_of_a_batch(estimates):
    """The memory per candidate is constant; the number of unique items grows more slowly."""
    weights, _, (two, four, eight) = estimates
    computed = [step - 4 * weights for step in (two, four, eight)]
    assert computed[0] < computed[1] < computed[2]
    assert 1.5 < computed[2] / computed[1] < 2.1


def test_free_memory_is_what_linux_calls_available(tmp_path: pathlib.Path):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  900 kB\nMemFree:  10 kB\nMemAvailable:     300 kB\nBuffers: 1 kB\n")
    assert available_bytes(file) == 300 * 1024


@pytest.mark.parametrize("text", [None, "MemTotal:  900 kB\n"])
def test_free_memory_is_unknown_without_proc(tmp_path: pathlib.Path, text):
    file = tmp_path / "meminfo"
    if text is not None:
        file.write_text(text)
    assert available_bytes(file) is None
