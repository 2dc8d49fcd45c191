"""A ranker of plain numbers, from svmlight files to an export; members are served as their mean."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from mmrank.config import Config, from_mapping
from mmrank.data.batches import Batches
from mmrank.data.tables import Dataset, load_dataset
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run, load_run
from mmrank.training.loop import train_run
from pipelines.prepare_letor import prepare

CONFIG = {
    "model": {
        "width": 4,
        "encoders": {"vector": {"quantiles": 8, "layers": 0, "norm": False, "noise": 0.1}},
        "head": {"hidden": [6], "members": 3, "linear": True},
    },
    "training": {"epochs": 2, "batch_lists": 4, "learning_rate": 0.01},
    "data": {"buckets": [8]},
}
# Codes of every number, members that share their weights, and averaged weights.
CODED = {
    "model": {
        "width": 4,
        "encoders": {
            "vector": {"signed_log": True, "bins": 3, "periodic": 2, "embed": 3, "layers": 0}
        },
        "head": {"hidden": [6], "members": 3, "sharing": "batch_ensemble"},
    },
    "training": {"epochs": 2, "batch_lists": 4, "learning_rate": 0.01, "ema": 0.5},
    "data": {"buckets": [8]},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("numbers")
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "vali", "test")):
        lines = [
            f"{d % 3} qid:{number}{q} 1:{d % 3 + rng.normal(0, 0.1):.3f} 2:{rng.lognormal():.3f}"
            for q in range(8)
            for d in range(5 + q % 2)
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    prepare([folder], folder / "prepared")
    return load_dataset(folder / "prepared")


@pytest.fixture(scope="module", params=[CONFIG, CODED], ids=["places", "coded"])
def run(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Run:
    folder: pathlib.Path = tmp_path_factory.mktemp("run")
    return train_run(from_mapping(Config, request.param, "test"), dataset, folder)


def test_scores_are_the_mean_of_the_members_before_and_after_loading(dataset, run):
    rows = dataset.rows("test")
    batches = Batches(run.fitted.arrays(dataset, rows), 8, (8,))
    expected = np.zeros(len(rows))
    for members, batch in batches.once():
        grades = batch.pop("grades")
        scores = run.model.network(batch, training=False).numpy()
        assert scores.shape == (*grades.shape, 3)
        assert np.ptp(scores, axis=-1)[batch["mask"]].min() > 0
        for b, i in enumerate(members):
            first, last = batches.arrays.offsets[i : i + 2]
            expected[first:last] = scores[b, : last - first].mean(-1)
    np.testing.assert_allclose(run.score(dataset, rows), expected, rtol=1e-4, atol=1e-5)
    loaded = load_run(run.folder)
    np.testing.assert_allclose(loaded.score(dataset, rows), expected, rtol=1e-4, atol=1e-5)


def test_the_export_scores_as_the_run(dataset, run, tmp_path):
    ranker = Ranker.load(export_run(run, tmp_path / "export", dataset))
    rows = dataset.rows("test").head(5)
    numbers = dataset.catalog["numbers"].iloc[rows["_item"]]
    given = ranker.scores(candidates=[{"numbers": v.tolist()} for v in numbers])
    expected = run.score(dataset, rows)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
