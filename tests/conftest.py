"""Fixtures that many tests share."""

from __future__ import annotations

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # has to stand before TensorFlow is imported

import pytest

from mmrank.config import Config, from_mapping

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the real datasets; tests that need it are skipped without it."""
    folder = pathlib.Path(os.environ.get("MMRANK_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set MMRANK_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A simulated shop of 60 items, 40 queries and 10 users, to be read and never written to."""
    from mmrank.data.simulator import simulate

    folder = tmp_path_factory.mktemp("shop") / "tiny"
    simulate(folder, items=60, queries=40, users=10, seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A config of a few thousand weights in which every kind of feature has its place."""
    return from_mapping(
        Config,
        {
            "seed": 3,
            "data": {"buckets": [8, 16, 32], "cache": None},
            "model": {
                "width": 16,
                "encoders": {
                    "text": {
                        "layers": 1,
                        "heads": 2,
                        "hidden": 16,
                        "intermediate": 16,
                        "max_tokens": 8,
                        "vocabulary_size": 300,
                    },
                    "image": {
                        "height": 32,
                        "width": 32,
                        "network": "EfficientNet",
                        "width_coefficient": 0.1,
                        "depth_coefficient": 0.1,
                    },
                    "history": {"length": 6, "heads": 2},
                },
                "head": {"hidden": [16], "attention_layers": 1, "attention_width": 8},
            },
            "training": {"batch_lists": 4, "epochs": 3, "learning_rate": 0.01, "patience": 9},
        },
        "tiny",
    )
