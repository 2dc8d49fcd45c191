"""The fusion, the loss and the baseline of docs/extending.md, from one file of a user."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
import yaml

from mmrank import evaluate, train
from mmrank.config import Config, ConfigError, from_mapping
from mmrank.config_checks import check_config
from mmrank.data.tables import load_dataset
from mmrank.evaluation.baselines import BASELINES
from mmrank.fusion import FUSIONS, make_fusion
from mmrank.ranking.losses import LOSSES, make_loss
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import load_run

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "extending.md"
READ = ("price", "brand")


def code(section: str) -> str:
    """The first block of Python under a heading of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The user's file, imported; its entries are removed at the end of the module."""
    file = tmp_path_factory.mktemp("own") / "my_entries.py"
    parts = [code(section) for section in ("A fusion", "A loss", "A baseline")]
    file.write_text("\n".join(parts), encoding="utf-8")
    before = [(registry, dict(registry)) for registry in (FUSIONS, LOSSES, BASELINES)]
    spec = importlib.util.spec_from_file_location("my_entries", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["my_entries"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["my_entries"]
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


def test_the_loss_is_its_formula_and_blind_to_padding(own: ModuleType) -> None:
    """max(0, 0.5 − s_i + s_j) of the pairs (2, 1), (2, 0), (1, 0): 0.3, 0, 0.1; no other pairs."""
    labels = tf.constant([[2.0, 0.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    scores = tf.constant([[0.9, 0.3, 0.7, 50.0], [0.0, 4.0, 9.0, 9.0]])
    loss = make_loss("margin", {"margin": 0.5})
    expected = np.array([(0.3 + 0.0 + 0.1) / 3, 0.0])
    np.testing.assert_allclose(loss.per_list(labels, scores), expected, atol=1e-6)
    assert float(loss(labels, scores)) == pytest.approx(expected.mean(), abs=1e-6)
    # A pair has the weight of its better candidate.
    weights = tf.constant([[2.0, 1.0, 3.0, 1.0]] * 2)
    weighted = (2 * 0.3 + 2 * 0.0 + 3 * 0.1) / 3 / 2
    assert float(loss(labels, scores, weights)) == pytest.approx(weighted, abs=1e-6)
    # With several members, the loss is the mean of their losses.
    members = tf.stack([scores, scores * 0], -1)
    apart = (loss.per_list(labels, scores) + loss.per_list(labels, scores * 0)) / 2
    np.testing.assert_allclose(loss.per_list(labels, members), apart, atol=1e-6)


def test_the_fusion_without_sharpness_is_the_mean(own: ModuleType) -> None:
    tokens = np.random.default_rng(0).normal(size=[2, 3, 4, 5]).astype(np.float32)
    visible = np.ones([2, 3, 4], bool)
    visible[:, 0, 1:] = False
    fusion = make_fusion("longest", {"sharpness": 0})
    expected = (tokens * visible[..., None]).sum(2) / visible.sum(2)[..., None]
    np.testing.assert_allclose(fusion.pool(tokens, visible, False), expected, atol=1e-5)


def test_they_are_trained_evaluated_and_exported(
    own: ModuleType, tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dataset = load_dataset(tiny_shop)
    names = {f.name for f in dataset.schema.side("item", "query", "user", "pair")}
    config = {
        "data": {"cache": None, "buckets": [32]},
        "model": {
            "width": 4,
            "drop": sorted(names - set(READ)),
            "match": "none",
            "fusion": {"name": "longest", "options": {"sharpness": 0.5}},
            "head": {"hidden": [4]},
        },
        "training": {"epochs": 1, "loss": {"name": "margin", "options": {"margin": 0.5}}},
        "evaluation": {"baselines": ["cheapest"]},
    }
    file, out, figures = tmp_path / "my.yaml", tmp_path / "run", tmp_path / "figures.json"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert train.main(["--config", str(file), "--data", str(tiny_shop), "--out", str(out)]) == 0
    command = ["--run", str(out), "--baselines", "random,cheapest", "--json", str(figures)]
    assert evaluate.main(command) == 0
    kept = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    again = json.loads(figures.read_text(encoding="utf-8"))
    assert again["metrics"]["cheapest"] == kept["metrics"]["cheapest"]

    run, rows = load_run(out), dataset.rows("test")
    assert run.config.model.fusion.name == "longest"
    one = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    prices = dataset.catalog["price"].to_numpy()[one["_item"]]
    scored = BASELINES.make("cheapest")(dataset, one)
    assert (np.argsort(-scored, kind="stable") == np.argsort(prices, kind="stable")).all()
    ranker = Ranker.load(out / "export")
    served = ranker.scores(candidates=list(one["item_id"]))
    np.testing.assert_allclose(served, run.score(dataset, one), atol=1e-4)


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("fusion", "sharpnes", "model.fusion: fusion longest: unknown option 'sharpnes'; did you"),
        ("loss", "margn", "training.loss: loss margin: unknown option 'margn'; did you mean"),
    ],
)
def test_their_options_are_checked_with_the_key(
    own: ModuleType, section: str, key: str, message: str
) -> None:
    given = {
        "fusion": {"model": {"fusion": {"name": "longest", "options": {key: 1}}}},
        "loss": {"training": {"loss": {"name": "margin", "options": {key: 1}}}},
    }[section]
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_config(from_mapping(Config, given, "test"))
