"""Runs and exports of either set of versions are read, continued and served with the other.

The artefacts in tests/artifacts are made by make.py, once with each set of versions; this reads
those of the other one.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest

from mmrank.config import load_config
from mmrank.data.tables import Dataset, load_dataset
from mmrank.versions import CLASSIC, CURRENT, version_set_of

FOLDER = pathlib.Path(__file__).resolve().parent / "artifacts"
OTHERS = [s.name for s in (CLASSIC, CURRENT) if s != version_set_of()]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script that made the artefacts."""
    spec = importlib.util.spec_from_file_location("make_artifacts", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return load_dataset(FOLDER / "shop")


def expected(name: str) -> dict[str, list[float]]:
    scores = json.loads((FOLDER / name / "scores.json").read_text(encoding="utf-8"))
    assert set(scores) == {"run", "rank_items", "serving_default"}
    assert all(np.ptp(values) > 0.1 for values in scores.values())
    return scores


def unpacked(name: str, what: str, to: pathlib.Path) -> pathlib.Path:
    shutil.unpack_archive(FOLDER / name / f"{what}.tar.xz", to, filter="data")
    return to


@pytest.mark.parametrize("name", OTHERS)
def test_an_export_gives_its_scores(
    name: str, make: ModuleType, shop: Dataset, tmp_path: pathlib.Path
) -> None:
    served = make.served_scores(unpacked(name, "export", tmp_path / "1"), shop)
    for signature, values in served.items():
        np.testing.assert_allclose(values, expected(name)[signature], atol=1e-5, err_msg=signature)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_run_gives_its_scores_trains_on_and_is_exported(
    name: str, make: ModuleType, shop: Dataset, tmp_path: pathlib.Path
) -> None:
    from mmrank.serving.export import export_run
    from mmrank.trained_run import load_run
    from mmrank.training.loop import train_run
    from mmrank.training.state import State

    folder = unpacked(name, "run", tmp_path / "run")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state["data"] = str(shop.folder)  # it was elsewhere when the run was made
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    first = load_run(folder).score(shop, shop.lists)
    np.testing.assert_allclose(first, expected(name)["run"], atol=1e-5)
    assert State.load(folder / "state.json").epoch == 1

    train_run(load_config(FOLDER / "config.yaml"), shop, folder, resume=True)
    state = State.load(folder / "state.json")
    assert state.finished
    assert state.epoch == 2
    # The optimizer's state was read too: the second epoch's loss is near the first's.
    losses = [epoch["loss"] for epoch in state.history]
    assert abs(losses[1] - losses[0]) < 0.5 * losses[0], losses
    run = load_run(folder)
    served = make.served_scores(export_run(run, tmp_path / "export", shop), shop)
    np.testing.assert_allclose(served["rank_items"], run.score(shop, shop.lists), atol=1e-5)
