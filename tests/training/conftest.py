"""A shop and a config that train in seconds."""

from __future__ import annotations

import dataclasses

import pytest

from mmrank.config import Config
from mmrank.data.tables import Dataset, load_dataset


@pytest.fixture(scope="session")
def shop(tiny_shop) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="session")
def quick_config(tiny_config) -> Config:
    """The tiny config without what is slow to trace; with dropout and id buckets."""
    model = dataclasses.replace(
        tiny_config.model,
        drop=("photo", "description", "rating", "rating_count", "sales", "tags"),
        match="none",
    )
    return dataclasses.replace(tiny_config, model=model)
