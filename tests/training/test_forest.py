"""Trees in addition to a trained network or instead of it: one score, from training to export."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.build import build_features, build_model
from mmrank.config import (
    CONFIG_FILE,
    HYBRID,
    NETWORK,
    TREES,
    TREES_FILE,
    Config,
    ConfigError,
    from_mapping,
    save_config,
)
from mmrank.config_checks import check_config
from mmrank.data.tables import Dataset
from mmrank.job import train
from mmrank.outputs import UserError
from mmrank.schema import schema_from_dict
from mmrank.scoring import plain_numbers
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run, load_run
from mmrank.training.forest import SHARES, add_trees, steady_share

SMALL = {"losses": ("QueryRMSE",), "depths": (3,), "rounds": 20, "learning_rate": 0.1}


def as_model(config: Config, name: str) -> Config:
    trees = dataclasses.replace(config.model.trees, **SMALL)
    model = dataclasses.replace(config.model, name=name, trees=trees)
    training = dataclasses.replace(config.training, epochs=1)
    return dataclasses.replace(config, model=model, training=training)


@pytest.fixture(scope="module")
def few(dataset: Dataset, tiny_config: Config) -> Config:
    """The tiny config without media; numbers of items and of pairs and some texts remain."""
    drop = ("photo", "description", "tags", "reviews", "history")
    return dataclasses.replace(tiny_config, model=dataclasses.replace(tiny_config.model, drop=drop))


@pytest.fixture(scope="module")
def hybrid(dataset: Dataset, few: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(as_model(few, HYBRID), dataset, tmp_path_factory.mktemp("hybrid") / "run")


@pytest.fixture(scope="module")
def trees(dataset: Dataset, few: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(as_model(few, TREES), dataset, tmp_path_factory.mktemp("trees") / "run")


def numbers(run: Run, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    return plain_numbers(run.model, run.lists_scorer(), run.arrays(dataset, rows))


def test_trees_read_match_features_and_all_numbers(hybrid: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    read = numbers(hybrid, dataset, rows)
    names = hybrid.model.plain_names
    assert read.shape == (len(rows), len(names))
    assert np.isfinite(read).all()
    prices = dataset.catalog["price"].to_numpy(np.float32)[rows["_item"]]
    known = np.isfinite(prices)
    np.testing.assert_array_equal(read[:, names.index("price/there")], known)
    np.testing.assert_array_equal(
        read[:, names.index("price/0")], np.where(known, prices, np.float32(0))
    )
    brand = hybrid.fitted.columns["brand"]
    words = {word: n for n, word in enumerate(brand.state()["vocabulary"])}
    brands = dataset.catalog["brand"].fillna("").to_numpy()[rows["_item"]]
    expected = [0 if b == "" else words.get(b, len(words)) for b in brands]
    np.testing.assert_array_equal(read[:, names.index("brand/0")], expected)
    shown = rows["position"].to_numpy(np.float32)
    np.testing.assert_array_equal(read[:, names.index("overlap/0")], shown)
    assert hybrid.model.matcher is not None
    assert names[: len(hybrid.model.matcher.names)] == hybrid.model.matcher.names


def test_a_hybrid_is_the_network_and_the_trees(hybrid: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    blend = hybrid.model.blend
    assert blend is not None
    network = without_trees(hybrid)
    of_trees = blend.forest.scores(numbers(hybrid, dataset, rows))
    expected = blend.network * network.score(dataset, rows) + blend.trees * of_trees
    np.testing.assert_allclose(hybrid.score(dataset, rows), expected, rtol=1e-4, atol=1e-5)


def without_trees(run: Run) -> Run:
    """The run as before trees were grown; its network still contains that scorer."""
    own = run.model.network.get_layer("scorer")
    model = dataclasses.replace(run.model, scorer=own, blend=None)
    return dataclasses.replace(run, model=model, _kept={})


def test_scores_of_trees_are_those_of_the_forest(trees: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    blend = trees.model.blend
    assert blend is not None
    assert blend.network == 0.0
    expected = blend.trees * blend.forest.scores(numbers(trees, dataset, rows))
    np.testing.assert_allclose(trees.score(dataset, rows), expected, rtol=1e-5, atol=1e-6)
    names = {layer.name for layer in trees.model.scorer.layers}
    assert "head" not in names  # parts that only the network needs are not computed
    state = json.loads((trees.folder / "state.json").read_text())
    assert state["epoch"] == 0


def test_a_reloaded_run_has_the_same_scores(trees: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    again = load_run(trees.folder).score(dataset, rows)
    np.testing.assert_allclose(again, trees.score(dataset, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_export_scores_as_the_run_does(
    hybrid: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    rows = dataset.rows("test")
    scores = hybrid.score(dataset, rows)
    ranker = Ranker.load(export_run(hybrid, tmp_path / "export", dataset))
    for (_, group), expected in zip(
        rows.groupby("list_id", sort=False), _by_list(rows, scores), strict=True
    ):
        first = group.iloc[0]
        found = ranker.scores(
            first["query"],
            group["item_id"].tolist(),
            user=first["user_id"],
            pairs=[{"overlap": v} for v in group["position"]],
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def _by_list(rows: pd.DataFrame, scores: np.ndarray) -> list[np.ndarray]:
    return np.split(scores, np.flatnonzero(np.diff(pd.factorize(rows["list_id"])[0])) + 1)


def test_scores_do_not_depend_on_padding_or_other_candidates_or_absent_values(
    trees: Run, dataset: Dataset
) -> None:
    rows = dataset.rows("test")
    scores = trees.score(dataset, rows)
    first = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    # A single list is padded to another length.
    np.testing.assert_allclose(trees.score(dataset, first), scores[: len(first)], atol=1e-5)
    turned = first.iloc[::-1]
    np.testing.assert_allclose(trees.score(dataset, turned)[::-1], scores[: len(first)], atol=1e-5)
    gone = dataclasses.replace(dataset, catalog=dataset.catalog.assign(price=np.float32(np.nan)))
    np.testing.assert_allclose(
        trees.score(gone, rows), trees.score(dataset, rows, drop=["price"]), atol=1e-6
    )


@pytest.mark.slow
def test_trees_may_read_the_vectors_of_the_network(
    hybrid: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(hybrid.folder, folder)
    (folder / TREES_FILE).unlink()
    config = hybrid.config
    chosen = dataclasses.replace(config.model.trees, reads=("vectors",))
    model = dataclasses.replace(config.model, trees=chosen)
    save_config(dataclasses.replace(config, model=model), folder / CONFIG_FILE)
    bare = load_run(folder)
    rows = dataset.rows("test")
    network = bare.score(dataset, rows)
    run = add_trees(bare, dataset)
    blend = run.model.blend
    assert blend is not None
    # The head's input without match features.
    head = run.model.network.get_layer("scorer").get_layer("head")
    assert run.model.matcher is not None
    width = head.input_shape[0][-1] - len(run.model.matcher.names)
    assert blend.names == tuple(f"vectors/{i}" for i in range(width))
    read = numbers(run, dataset, rows)
    assert read.std(0).max() > 0.1
    expected = blend.network * network + blend.trees * blend.forest.scores(read)
    scores = run.score(dataset, rows)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
    ranker = Ranker.load(export_run(run, tmp_path / "export", dataset))
    first = rows[rows["list_id"] == rows["list_id"].iloc[0]]
    found = ranker.scores(
        first["query"].iloc[0],
        first["item_id"].tolist(),
        user=first["user_id"].iloc[0],
        pairs=[{"overlap": v} for v in first["position"]],
    )
    np.testing.assert_allclose(found, scores[: len(first)], rtol=1e-3, atol=1e-3)


def test_no_label_of_a_test_list_reaches_the_trees(
    trees: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    grade = dataset.schema.label("grade")
    assert grade is not None
    grown = {}
    for split in ("test", "valid"):
        folder = tmp_path / split
        folder.mkdir()
        lists = dataset.lists.copy()
        lists.loc[dataset.rows(split).index, grade.column] = np.arange(len(dataset.rows(split))) % 3
        bare = dataclasses.replace(without_trees(trees), folder=folder)
        add_trees(bare, dataclasses.replace(dataset, lists=lists))
        grown[split] = (folder / TREES_FILE).read_bytes()
    assert grown["test"] == (trees.folder / TREES_FILE).read_bytes()
    assert grown["valid"] != grown["test"]  # the check above can fail


def test_a_share_far_from_half_must_be_clearly_better() -> None:
    even = [np.full(9, 0.5) for _ in SHARES]
    assert SHARES[steady_share([0.5] * 11, even)] == 0.5
    # Shares of .8 and more are better in every list.
    ahead = [np.full(9, 0.5 if s < 0.75 else 0.6) for s in SHARES]
    assert SHARES[steady_share([f.mean() for f in ahead], ahead)] == pytest.approx(0.8)
    # Trees alone are better in one list of nine, which may be chance.
    lucky = [np.full(9, 0.5) for _ in SHARES]
    lucky[-1] = np.append(np.full(8, 0.5), 0.9)
    assert SHARES[steady_share([f.mean() for f in lucky], lucky)] == 0.5
    # Of two shares equally far from one half, the better one is chosen.
    sides = [np.full(9, 0.1) for _ in SHARES]
    sides[4], sides[6] = np.full(9, 0.5), np.append(np.full(8, 0.52), 0.4)
    assert SHARES[steady_share([f.mean() for f in sides], sides)] == pytest.approx(0.6)


def test_existing_trees_are_kept(trees: Run, dataset: Dataset) -> None:
    before = (trees.folder / TREES_FILE).stat().st_mtime_ns
    again = add_trees(load_run(trees.folder), dataset)
    assert again.model.blend is not None
    assert (trees.folder / TREES_FILE).stat().st_mtime_ns == before


def test_trees_may_read_some_of_the_numbers(
    trees: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    """For example in a run trained before a kind of feature counted as plain."""
    blend = trees.model.blend
    assert blend is not None
    asked = np.unique(blend.forest.features[np.isfinite(blend.forest.borders)])
    names = tuple(blend.names[i] for i in asked)
    forest = dataclasses.replace(
        blend.forest, features=np.searchsorted(asked, blend.forest.features).astype(np.int32)
    )
    folder = tmp_path / "run"
    shutil.copytree(trees.folder, folder)
    dataclasses.replace(blend, forest=forest, names=names).save(folder / TREES_FILE)
    rows = dataset.rows("test")
    np.testing.assert_array_equal(load_run(folder).score(dataset, rows), trees.score(dataset, rows))


def test_damaged_trees_are_reported(trees: Run, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trees.folder, folder)
    (folder / TREES_FILE).write_text('{"names": []}')
    with pytest.raises(UserError, match=r"trees\.json: holds no trees"):
        load_run(folder)
    plain = json.loads((trees.folder / TREES_FILE).read_text())
    (folder / TREES_FILE).write_text(json.dumps(plain | {"names": plain["names"][:1]}))
    with pytest.raises(UserError, match=r"the trees read \d+ numbers, but 1 are named"):
        load_run(folder)
    plain["names"] = [*plain["names"][:-1], "weight/0"]
    (folder / TREES_FILE).write_text(json.dumps(plain))
    with pytest.raises(ConfigError, match="trees need a ranker of a single score"):
        load_run(folder)


@pytest.mark.parametrize(
    ("model", "actual"),
    [
        ({"name": "tree"}, r"model\.name: unknown 'tree'.*'trees'"),
        ({"name": "trees", "trees": {"losses": []}}, "must each have at least one"),
        ({"name": "trees", "trees": {"depths": [17]}}, "expected 1 to 10, got 17"),
        ({"name": "trees", "trees": {"rounds": 0}}, "rounds: expected 1 or more, got 0"),
        ({"name": "hybrid", "trees": {"learning_rate": 0}}, "above 0 and up to 1"),
    ],
)
def test_invalid_options_are_refused(model: dict[str, Any], actual: str) -> None:
    with pytest.raises(ConfigError, match=actual):
        check_config(from_mapping(Config, {"model": model}, "config"))


@pytest.mark.parametrize(
    ("other", "actual"),
    [
        ({"training": {"tasks": {"click": {}}}}, "learns from grades only"),
        ({"training": {"popularity_weight": 0.5}}, "gives all rows equal weight"),
        ({"data": {"records": "shards"}}, "grows trees on tables"),
    ],
)
def test_unsupported_options_of_trees_are_refused(other: dict[str, Any], actual: str) -> None:
    with pytest.raises(ConfigError, match=actual):
        check_config(from_mapping(Config, {"model": {"name": HYBRID}} | other, "config"))


def test_trees_without_features_are_refused_before_training(dataset: Dataset) -> None:
    schema = schema_from_dict(
        {
            "catalog": "items.parquet",
            "lists": "lists.parquet",
            "features": [{"name": "tags", "kind": "tags", "side": "item"}],
        }
    )
    config = from_mapping(Config, {"model": {"name": TREES}}, "config")
    with pytest.raises(ConfigError, match="and the schema has none; use network"):
        build_model(config, build_features(config, schema))


def test_a_network_does_not_need_catboost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_config(from_mapping(Config, {"model": {"name": NETWORK}}, "config"))
    with pytest.raises(UserError, match=r"pip install -e '\.\[trees\]'"):
        check_config(from_mapping(Config, {"model": {"name": TREES}}, "config"))
