"""An export that is quick to make, for what any export has to keep."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from mmrank.config import Config
from mmrank.data.tables import Dataset

KEPT = ("query", "title", "photo")


@pytest.fixture(scope="session")
def small_export(
    dataset: Dataset, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The folder of an export of a ranker with random weights that reads texts and photos alone."""
    from mmrank.build import Run, build_features, build_model
    from mmrank.serving.export import export_run

    drop = tuple(f.name for f in dataset.schema.features if f.name not in KEPT)
    drop = tuple(n for n in drop if dataset.schema.feature(n).side != "label")
    model = dataclasses.replace(tiny_config.model, drop=drop)
    data = dataclasses.replace(tiny_config.data, buckets=(8,))
    config = dataclasses.replace(tiny_config, model=model, data=data)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    run = Run(pathlib.Path("none"), config, dataset.folder, features, build_model(config, features))
    return export_run(run, tmp_path_factory.mktemp("small") / "export", dataset)
