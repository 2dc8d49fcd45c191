"""A network that reads trees' scores: out of fold in training, computed by its scorer elsewhere."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.build import build_model
from mmrank.config import STACKED, STATE_FILE, TREES_FILE, Config, ConfigError, from_mapping
from mmrank.config_checks import check_config
from mmrank.data.batches import Batches, ListArrays
from mmrank.data.tables import DataError, Dataset
from mmrank.features import MODEL_SIDES
from mmrank.job import check_job, train
from mmrank.models import TREE_SCORE
from mmrank.schema import schema_from_dict
from mmrank.scoring import ListScorer, plain_numbers
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run, load_run
from mmrank.training.callbacks import Progress
from mmrank.training.match_start import start_from_matches
from mmrank.training.stacked import query_keys, trees_ahead
from mmrank.training.state import TrainingError

SMALL = {"losses": ("QueryRMSE",), "depths": (3,), "rounds": 20, "learning_rate": 0.1, "folds": 3}


@pytest.fixture(scope="module")
def config(dataset: Dataset, tiny_config: Config) -> Config:
    """The tiny config with a title, a price and a number of the pair, which trace quickly."""
    trees = dataclasses.replace(tiny_config.model.trees, **SMALL)
    kept = ("query", "title", "price", "overlap")
    drop = tuple(f.name for f in dataset.schema.side(*MODEL_SIDES) if f.name not in kept)
    head = dataclasses.replace(tiny_config.model.head, attention_layers=0)
    model = dataclasses.replace(tiny_config.model, name=STACKED, trees=trees, drop=drop, head=head)
    training = dataclasses.replace(tiny_config.training, epochs=2)
    return dataclasses.replace(tiny_config, model=model, training=training)


@pytest.fixture(scope="module")
def stacked(dataset: Dataset, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    check_job(config, dataset.schema)
    return train(config, dataset, tmp_path_factory.mktemp("stacked") / "run")


def ahead(run: Run, dataset: Dataset, folder: pathlib.Path) -> np.ndarray:
    """The scores of the training lists; trees are grown unless the folder has them."""
    folder.mkdir(exist_ok=True)
    return trees_ahead(run.config, dataset, run.fitted, run.items(dataset), folder)[1]


def numbers(run: Run, arrays: ListArrays) -> np.ndarray:
    return plain_numbers(run.model, run.lists_scorer(), arrays)


def graded(dataset: Dataset, rows: pd.Index, grades: np.ndarray) -> Dataset:
    """The dataset with other grades in some rows."""
    label = dataset.schema.label("grade")
    assert label is not None
    lists = dataset.lists.copy()
    lists.loc[rows, label.column] = grades.astype(lists[label.column].dtype)
    return dataclasses.replace(dataset, lists=lists)


def test_grades_of_a_list_do_not_reach_its_tree_score(
    stacked: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    rows = dataset.rows("train")
    stack, arrays = stacked.model.stack, stacked.arrays(dataset, rows)
    assert stack is not None
    kept = stack.out_of_fold(numbers(stacked, arrays), arrays.offsets)
    flipped = rows["query"] == rows["query"].iloc[0]
    other = graded(dataset, rows.index[flipped], 3 - rows["grade"][flipped].to_numpy())
    moved = ahead(stacked, other, tmp_path / "flipped") != kept
    assert not moved[flipped.to_numpy()].any()
    assert moved.any()  # the check above can fail


def test_trees_are_chosen_by_validation_lists_not_test_lists(
    stacked: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    kept = (stacked.folder / TREES_FILE).read_bytes()
    for split, alike in (("test", True), ("valid", False)):
        rows = dataset.rows(split)
        ahead(stacked, graded(dataset, rows.index, np.arange(len(rows)) % 3), tmp_path / split)
        assert ((tmp_path / split / TREES_FILE).read_bytes() == kept) == alike


@pytest.mark.parametrize(("text", "expected"), [(True, [0, 0, 0, 3, 4]), (False, [0, 0, 2, 3, 4])])
def test_lists_of_one_query_are_in_one_fold(text: bool, expected: list[int]) -> None:
    """Queries are compared by text, ignoring case, or otherwise by their other features."""
    features = [
        {"name": "codes", "kind": "vector", "side": "query"},
        {"name": "price", "kind": "number", "side": "item"},
    ]
    features += [{"name": "query", "kind": "text", "side": "query"}] if text else []
    tables = {"catalog": "items.parquet", "lists": "lists.parquet"}
    schema = schema_from_dict(tables | {"features": features})
    asked = ["Red  dress", "red dress ", "red dress", None, ""]
    codes = [np.ones(2), np.ones(2), np.zeros(2), None, None]
    lists = pd.DataFrame({"list_id": list("abcde"), "query": asked, "codes": codes})
    dataset = Dataset.__new__(Dataset)
    object.__setattr__(dataset, "schema", schema)
    keys = query_keys(dataset, lists.loc[np.repeat(np.arange(5), 2)])
    # Lists without a query are all in different groups.
    np.testing.assert_array_equal(keys[:, None] == keys, np.equal.outer(expected, expected))


def test_trees_read_only_untrained_features(stacked: Run, dataset: Dataset) -> None:
    stack = stacked.model.stack
    assert stack is not None
    assert stack.names == stacked.model.plain_names
    assert "price/0" in stack.names
    assert "overlap/0" in stack.names
    assert "query/title/covered" in stack.names
    matcher = stacked.model.matcher
    assert matcher is not None
    assert "query/title/cosine" in matcher.names  # from an encoder that learns
    assert "query/title/cosine" not in stack.names
    # Match features before the run's normalisation.
    arrays = stacked.arrays(dataset, dataset.rows("test"))
    column = stack.names.index("query/title/covered")
    expected = stacked.match_features(dataset, dataset.rows("test"))
    own = matcher.names.index("query/title/covered")
    np.testing.assert_allclose(numbers(stacked, arrays)[:, column], expected[:, own], atol=1e-6)


def test_training_gets_the_tree_scores_of_the_scorer(stacked: Run, dataset: Dataset) -> None:
    """The network, fed with the mean of all forests, has the scores of the scorer."""
    model, stack = stacked.model, stacked.model.stack
    assert stack is not None
    arrays = stacked.arrays(dataset, dataset.rows("test"))
    actual = stack.forest.scores(numbers(stacked, arrays))
    pairs = {**arrays.pairs, TREE_SCORE: actual}
    batches = Batches(dataclasses.replace(arrays, pairs=pairs), 8, (8, 16, 32))
    scores = stacked.lists_scorer()(arrays)
    assert TREE_SCORE in model.network.input
    assert TREE_SCORE not in model.scorer.input
    for members, batch in batches.once():
        fed = {n: tf.constant(batch[n]) for n in model.network.input}
        given = model.network(fed, training=False).numpy()
        for b, i in enumerate(members):
            first, last = arrays.offsets[i], arrays.offsets[i + 1]
            np.testing.assert_allclose(given[b, : last - first], scores[first:last], atol=1e-4)


def test_a_new_ranker_starts_with_the_order_of_trees_and_match_features(
    stacked: Run, dataset: Dataset
) -> None:
    stack = stacked.model.stack
    model = build_model(stacked.config, stacked.fitted, stack=stack)
    assert stack is not None
    assert model.tree_residual is not None
    assert model.residual is not None
    assert model.matcher is not None
    arrays = stacked.arrays(dataset, dataset.rows("train"))
    features = numbers(stacked, arrays)
    actual = stack.out_of_fold(features, arrays.offsets)
    scorer = ListScorer(model, 8, (8, 16, 32))
    start_from_matches(
        model, scorer, dataclasses.replace(arrays, pairs={**arrays.pairs, TREE_SCORE: actual})
    )
    (weight,) = model.tree_residual.get_weights()
    run = dataclasses.replace(stacked, model=model, _kept={})
    raw, there = run.matched(arrays)
    mean, deviation = model.matcher.mean.numpy(), model.matcher.deviation.numpy()
    matched = np.where(there, np.clip((raw - mean) / deviation, -5, 5), 0)
    elsewhere = np.clip(stack.forest.scores(features), -5, 5)
    expected = matched @ model.residual.kernel.numpy()[:, 0] + weight[0, 0] * elsewhere
    np.testing.assert_allclose(scorer(arrays), expected, atol=1e-4)


def test_a_reloaded_run_has_the_same_scores(stacked: Run, dataset: Dataset) -> None:
    rows = dataset.rows("test")
    again = load_run(stacked.folder).score(dataset, rows)
    np.testing.assert_allclose(again, stacked.score(dataset, rows), rtol=1e-5, atol=1e-5)


def test_an_export_computes_the_trees(
    stacked: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    rows = dataset.rows("test")
    scores = stacked.score(dataset, rows)
    ranker = Ranker.load(export_run(stacked, tmp_path / "export", dataset))
    first = 0
    for _, group in rows.groupby("list_id", sort=False):
        found = ranker.scores(
            group["query"].iloc[0],
            group["item_id"].tolist(),
            pairs=[{"overlap": v} for v in group["position"]],
        )
        np.testing.assert_allclose(found, scores[first : first + len(group)], rtol=1e-4, atol=1e-4)
        first += len(group)


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_run(
    stacked: Run, dataset: Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Progress, batch: int, logs: object = None) -> None:
        if self._epoch == 1:
            raise KeyError

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_train_batch_end", fail)
        with pytest.raises(KeyError):
            train(stacked.config, dataset, folder)
    grown = (folder / TREES_FILE).read_bytes()
    assert grown == (stacked.folder / TREES_FILE).read_bytes()
    shutil.copytree(folder, tmp_path / "bare")
    (tmp_path / "bare" / TREES_FILE).unlink()
    with pytest.raises(TrainingError, match=r"trees\.json: missing"):
        train(stacked.config, dataset, tmp_path / "bare", resume=True)
    train(stacked.config, dataset, folder, resume=True)
    assert (folder / TREES_FILE).read_bytes() == grown
    one, other = (json.loads((f / STATE_FILE).read_text()) for f in (folder, stacked.folder))
    for epoch, expected in zip(one["history"], other["history"], strict=True):
        assert epoch == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.slow
def test_a_run_may_start_from_the_weights_of_another(
    stacked: Run, dataset: Dataset, tmp_path: pathlib.Path
) -> None:
    trees = dataclasses.replace(stacked.config.model.trees, rounds=10)
    model = dataclasses.replace(stacked.config.model, trees=trees)
    other = dataclasses.replace(stacked.config, model=model)
    run = train(other, dataset, tmp_path / "run", init_from=stacked.folder)
    moved = (run.folder / "init_from.txt").read_text()
    for layer in ("head", "tree_residual", "match_residual"):
        assert any(line.split()[:2] == [layer, "taken"] for line in moved.splitlines()), moved
    assert run.model.stack is not None
    assert stacked.model.stack is not None
    # It has its own trees.
    assert len(run.model.stack.forest.leaves) < len(stacked.model.stack.forest.leaves)


def test_damaged_trees_are_reported(stacked: Run, dataset: Dataset, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stacked.folder, folder)
    plain = json.loads((folder / TREES_FILE).read_text())
    (folder / TREES_FILE).write_text(json.dumps(plain | {"names": ["x", *plain["names"][1:]]}))
    with pytest.raises(ConfigError, match=r"trees\.json: .*numbers that differ from those of"):
        load_run(folder)
    (folder / TREES_FILE).unlink()
    with pytest.raises(ValueError, match="holds no trees of a stacked run"):
        load_run(folder)
    few = dataclasses.replace(dataset, lists=dataset.lists[dataset.lists["split"] != "test"])
    rows = few.rows("train")
    one = rows["list_id"] == rows["list_id"].iloc[0]
    few = dataclasses.replace(few, lists=few.lists.drop(rows.index[~one]))
    with pytest.raises(DataError, match="1 distinct queries cannot be split into 3 parts.*folds"):
        ahead(stacked, few, tmp_path / "few")


@pytest.mark.parametrize(
    ("plain", "actual"),
    [
        ({"model": {"trees": {"folds": 1}}}, "expected 2 to 20, got 1"),
        ({"training": {"tasks": {"click": {}}}}, "learns from grades only"),
        ({"training": {"strategy": "multi_worker"}}, "grows its trees on one host"),
        ({"model": {"cross": {"alone": True}}}, "leaves no score for trees"),
        ({"model": {"trees": {"reads": ["vectors"]}}}, "vectors come from a trained network"),
        ({"model": {"trees": {"reads": ["vector"]}}}, "unknown 'vector'.*'vectors'"),
    ],
)
def test_options_incompatible_with_stacked_trees_are_refused(
    plain: dict[str, Any], actual: str
) -> None:
    model = {"name": STACKED} | plain.get("model", {})
    with pytest.raises(ConfigError, match=actual):
        check_config(from_mapping(Config, plain | {"model": model}, "config"))
