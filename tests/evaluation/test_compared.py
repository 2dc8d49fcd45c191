"""Peers in addition to baselines: trained on train, tuned on valid, without labels of test."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, Task
from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation import compared
from mmrank.evaluation.compared import (
    METRICS_FILE,
    check_compared,
    compared_scores,
    known_names,
    run_cost,
)
from mmrank.evaluation.costs import Cost, Tuning, choice_lines, cost_columns
from mmrank.evaluation.peers import PEERS, Part, Peer
from mmrank.plain_features import plain_features
from mmrank.registry import Entry
from mmrank.trained_run import Run

USED = ("query", "title", "brand", "price", "overlap")


class Lengths(tf.Module):
    """A text encoder: the number of bytes, and 1."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        count = tf.cast(tf.strings.length(texts), tf.float32)
        return tf.stack([count, tf.ones_like(count)], -1)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("hub") / "lengths"
    tf.saved_model.save(Lengths(), str(folder))
    return folder


@pytest.fixture(scope="module")
def run(dataset: Dataset, tiny_config: Config) -> Run:
    """A ranker with random weights over a few features that are quick to compute."""
    names = {f.name for f in dataset.schema.side("item", "query", "user", "pair")}
    fewer = dataclasses.replace(tiny_config.model, drop=tuple(sorted(names - set(USED))))
    config = dataclasses.replace(tiny_config, model=fewer)
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    return Run(
        pathlib.Path("nowhere"), config, dataset.folder, features, build_model(config, features)
    )


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def changed(dataset: Dataset, split: str) -> Dataset:
    """The dataset with the grades of one split reversed."""
    column = dataset.schema.feature("grade").column
    lists = dataset.lists.copy()
    at = dataset.rows(split).index
    lists.loc[at, column] = lists[column].max() - lists.loc[at, column]
    return dataclasses.replace(dataset, lists=lists)


@pytest.mark.slow
def test_labels_of_test_lists_are_not_read(run: Run, dataset: Dataset) -> None:
    """The peers depend on the labels of train and valid, but not on those of test."""
    names = ("lambdamart", "yetirank")
    scores = {}
    for split in (None, "test", "train", "valid"):
        given = dataset if split is None else changed(dataset, split)
        found = compared_scores(run, given, given.rows("test"), names, trials=2)
        scores[split] = np.concatenate([found.scores[name] for name in names])
    np.testing.assert_array_equal(scores[None], scores["test"])
    assert (scores[None] != scores["train"]).any()
    assert (scores[None] != scores["valid"]).any()


def test_test_rows_are_not_read_before_a_peer_is_tuned(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, read = dataset.rows("test"), []

    def watched(run: Run, dataset: Dataset, rows: pd.DataFrame):
        read.append(set(rows.index))
        return plain_features(run, dataset, rows)

    def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
        assert read == [set(dataset.rows(split).index) for split in ("train", "valid")]
        assert len(train.grades) == len(dataset.rows("train"))
        return Peer(lambda features, offsets: features[:, 0], 1, {}, 0.5, trials, {}, 2.0, 1.0)

    monkeypatch.setattr("mmrank.plain_features.plain_features", watched)
    monkeypatch.setitem(compared.PEERS, "lambdamart", Entry.function(fit))
    found = compared_scores(run, dataset, rows, ["lambdamart"], trials=3)
    expected = plain_features(run, dataset, rows)[1][:, 0]
    np.testing.assert_array_equal(found.scores["lambdamart"], expected)
    cost = found.costs["lambdamart"]
    assert (cost.train_seconds, cost.tune_seconds, cost.size) == (1.0, 2.0, 1)
    assert cost.tuning == Tuning(3, {}, {}, 0.5)


def test_peers_of_a_ranker_of_clicks_learn_clicks(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for lists with grades, by which all are measured: the ranker used none."""
    training = dataclasses.replace(run.config.training, tasks={"click": Task()})
    clicked = dataclasses.replace(run, config=dataclasses.replace(run.config, training=training))
    seen: list[Part] = []

    def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
        seen.extend([train, valid])
        return Peer(lambda features, offsets: features[:, 0], 1, {}, 0.5, trials, {}, 2.0, 1.0)

    monkeypatch.setitem(compared.PEERS, "lambdamart", Entry.function(fit))
    for one in (clicked, run):
        compared_scores(one, dataset, dataset.rows("test"), ["lambdamart"])
    columns = {name: dataset.schema.feature(name).column for name in ("click", "position", "grade")}
    for part, split in zip(seen[:2], ("train", "valid"), strict=True):
        rows = dataset.rows(split)
        np.testing.assert_array_equal(part.grades, rows[columns["click"]])
        np.testing.assert_array_equal(part.positions, rows[columns["position"]])
    for part, split in zip(seen[2:], ("train", "valid"), strict=True):
        np.testing.assert_array_equal(part.grades, dataset.rows(split)[columns["grade"]])
        assert part.positions is None


def test_scorers_keep_the_order_of_the_names(run: Run, dataset: Dataset) -> None:
    names = ["regression_trees", "random", "bm25"]
    found = compared_scores(run, dataset, dataset.rows("test"), names, trials=1)
    assert list(found.scores) == list(found.costs) == names
    assert found.costs["random"].tuning is None
    assert found.costs["bm25"].score_seconds is not None


def test_validation_lists_are_required(run: Run, dataset: Dataset) -> None:
    none = dataclasses.replace(
        dataset, lists=dataset.lists.assign(_split=dataset.lists["_split"].replace("valid", "test"))
    )
    with pytest.raises(DataError, match="split 'valid' has no lists, which peers need"):
        compared_scores(run, none, none.rows("test"), ["xgboost"], trials=1)
    column = dataset.schema.feature("grade").column
    flat = dataset.lists.copy()
    flat.loc[dataset.rows("valid").index, column] = 0
    given = dataclasses.replace(dataset, lists=flat)
    with pytest.raises(DataError, match="no list of split 'valid' has a relevant item"):
        compared_scores(run, given, given.rows("test"), ["xgboost"], trials=1)


def test_dense_needs_a_pretrained_encoder(run: Run, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="no frozen text encoder .* --dense FOLDER"):
        compared_scores(run, dataset, dataset.rows("test"), ["dense"])


def test_dense_by_a_folder_is_the_cosine(run: Run, dataset: Dataset, hub: pathlib.Path) -> None:
    """The cosine of (bytes, 1) of query and text; the text field is chosen on the valid lists."""
    rows = dataset.rows("test")
    found = compared_scores(run, dataset, rows, ["dense"], dense=hub)
    tuning = found.costs["dense"].tuning
    assert tuning is not None
    queries = rows[dataset.schema.feature("query").column]
    items = dataset.catalog.iloc[rows["_item"].to_numpy()]

    def cosine(column: str) -> list[float]:
        return [
            0.0 if not (one and other) else float(np.dot(*(unit(t) for t in (one, other))))
            for one, other in zip(queries.fillna(""), items[column].fillna(""), strict=True)
        ]

    def unit(text: str) -> np.ndarray:
        vector = np.array([len(text.encode()), 1.0])
        return vector / np.linalg.norm(vector)

    fields = {f"query/{f.name}": f.column for f in dataset.schema.side("item") if f.kind == "text"}
    assert set(tuning.space["texts"]) == {*fields, "mean"}
    expected = {name: cosine(column) for name, column in fields.items()}
    expected["mean"] = list(np.mean(list(expected.values()), axis=0))
    chosen = tuning.choice["texts"]
    np.testing.assert_allclose(found.scores["dense"], expected[chosen], atol=1e-5)


def test_names() -> None:
    assert {"bm25", "dense", "als", *PEERS} < set(known_names())
    check_compared(["random", "dense", "gam"])
    with pytest.raises(ValueError, match="unknown baseline 'bm52'; did you mean 'bm25'"):
        check_compared(["random", "bm52"])


def test_the_cost_of_the_ranker(run: Run, tmp_path: pathlib.Path) -> None:
    kept = dataclasses.replace(run, folder=tmp_path)
    assert run_cost(kept, 1.5).train_seconds is None
    (tmp_path / METRICS_FILE).write_text('{"seconds": {"training": 12.5}}', encoding="utf-8")
    cost = run_cost(kept, 1.5)
    assert (cost.train_seconds, cost.score_seconds) == (12.5, 1.5)
    assert cost.size == sum(w.numpy().nbytes for w in run.model.network.weights)


def test_the_table_of_costs() -> None:
    tuning = Tuning(12, {"leaves": (7, 15)}, {"leaves": 7, "hidden": (8, 4)}, 0.8125)
    costs = {"model": Cost(63.2, None, 0.5, None, 2_500_000), "trees": Cost(tuning=tuning)}
    columns = {column[0]: column[1:] for column in cost_columns(costs)}
    assert columns["trained in"] == ["63 s", "-"]
    assert columns["scored in"] == ["0.50 s", "-"]
    assert columns["size"] == ["2.5 MB", "-"]
    assert columns["trials"] == ["-", "12"]
    assert choice_lines(costs, 100) == ["trees: leaves 7, hidden 8-4"]
    assert max(map(len, choice_lines(costs, 20))) <= 20
