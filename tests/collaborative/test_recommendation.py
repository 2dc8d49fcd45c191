"""Users without a query: training, evaluation, export and ranking, with collaborative scores."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.served import ServedScores, fit_served
from mmrank.config import Config, from_mapping
from mmrank.data.tables import Dataset
from mmrank.evaluate import main as evaluate
from mmrank.serving.export import export_run
from mmrank.serving.ranker import Ranker
from mmrank.trained_run import Run, load_run

SCORERS = ["itemknn", "userknn", "pmi"]
FEATURES = [
    {"name": "item", "kind": "category", "side": "item", "column": "item_id"},
    {"name": "history", "kind": "history", "side": "user"},
    {"name": "collaborative", "kind": "collaborative", "side": "pair"},
    {"name": "grade", "kind": "number", "side": "label"},
]
CONFIG = {
    "data": {"buckets": [4], "cache": None},
    "model": {
        "width": 8,
        "encoders": {
            "collaborative": {"scorers": SCORERS, "snapshots": 2, "factors": 2},
            "history": {"length": 4, "heads": 1, "collaborative_weight": 0.5},
        },
        "head": {"hidden": [8]},
    },
    "training": {"epochs": 1, "batch_lists": 2},
}
Shop = Callable[..., Dataset]
Trained = tuple[Run, Dataset]


@pytest.fixture(scope="module")
def trained(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from mmrank.training.loop import train_run

    dataset = shop(changed={"features": FEATURES})
    folder = tmp_path_factory.mktemp("run") / "run"
    folder.mkdir()
    return train_run(from_mapping(Config, CONFIG, "test"), dataset, folder), dataset


@pytest.fixture(scope="module")
def ranker(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    run, dataset = trained
    return Ranker.load(export_run(run, tmp_path_factory.mktemp("export"), dataset))


def test_a_loaded_run_has_the_same_scores(trained: Trained) -> None:
    run, dataset = trained
    scores = run.score(dataset, dataset.lists)
    assert np.isfinite(scores).all()
    again = load_run(run.folder).score(dataset, dataset.lists)
    np.testing.assert_allclose(again, scores, atol=1e-5)
    without = run.score(dataset, dataset.lists, drop=["collaborative"])
    known = dataset.lists["list_id"].isin(["2", "3"]).to_numpy()
    assert not np.allclose(without[known], scores[known])
    # User n and the list without a user have no history, so dropping it changes nothing.
    unknown = dataset.lists["list_id"].isin(["4", "5"]).to_numpy()
    np.testing.assert_allclose(without[unknown], scores[unknown], atol=1e-6)


def test_evaluation_with_collaborative_baselines(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = trained
    arguments = ["--run", str(run.folder), "--baselines", "popularity,itemknn,userknn,pmi"]
    assert evaluate(arguments) == 0
    table = capsys.readouterr().out
    for name in ("model", "popularity", "itemknn", "userknn", "pmi"):
        assert name in table


def test_the_signature_takes_the_vector(trained: Trained, ranker: Ranker) -> None:
    run, dataset = trained
    rows = dataset.lists[dataset.lists["list_id"] == "2"]
    kind = run.fitted.collaborative
    assert kind is not None
    vectors, present = kind.vectors(dataset, rows)
    given = [
        {"collaborative": list(map(float, v)) if there else None}
        for v, there in zip(vectors, present, strict=True)
    ]
    # The events of user u before 50, with ages in days.
    history = [(i, "view", (50 - t) / 86_400) for i, t in zip("abc", (10, 11, 12), strict=True)]
    scores = ranker.scores(candidates=list(rows["item_id"]), history=history, pairs=given)
    np.testing.assert_allclose(scores, run.score(dataset, rows), atol=1e-4)


def test_ranker_computes_the_vectors(trained: Trained, ranker: Ranker) -> None:
    run, dataset = trained
    served = fit_served(dataset, run.fitted.collaborative.options)  # type: ignore[union-attr]
    assert served is not None
    candidates, history = ["d", "e", "b"], [("a", "view", 1.0), ("gone", "view", 2.0)]
    vectors = served.vectors(history, candidates)
    pairs = [{"collaborative": v} for v in vectors]
    actual = ranker.scores(candidates=candidates, history=history, pairs=pairs)
    own = ranker.scores(candidates=candidates, history=history)
    np.testing.assert_allclose(own, actual, atol=1e-6)
    absent = [{"collaborative": None}] * 3
    other = ranker.scores(candidates=candidates, history=history, pairs=absent)
    assert not np.allclose(own, other)
    assert len(ranker.rank(candidates=candidates)) == 3  # an unknown user


def test_served_vectors_by_hand(shop: Shop, tmp_path: pathlib.Path) -> None:
    options = CollaborativeOptions(scorers=("itemknn",), shrinkage=0.0)
    served = fit_served(shop(), options)
    assert served is not None
    file = tmp_path / "scores.npz"
    served.save(file)
    for scores in (served, ServedScores.load(file)):
        found = scores.vectors([("a", "view", 0.0)], ["b", "d", "e", "x"])
        # Users by item before the end of training, 50: a {u, v}, b {u, v, w}, d {x}, e none.
        similar = np.array([2 / np.sqrt(2 * 3), 0, 0, 0])
        expected = (similar - similar.mean()) / similar.std()
        assert found[2] is None
        assert found[3] is None
        np.testing.assert_allclose(found[0], [expected[0], np.log(2), np.log(4)], rtol=1e-5)
        np.testing.assert_allclose(found[1], [expected[1], np.log(2), np.log(2)], rtol=1e-5)
        assert scores.vectors([], ["a", "b"]) == [None, None]


def test_served_events_weigh_less_with_their_age(shop: Shop) -> None:
    options = CollaborativeOptions(
        scorers=("itemknn",), shrinkage=0.0, half_life_days=2.0, weights={"view": 3.0}
    )
    flat = CollaborativeOptions(scorers=("itemknn",), shrinkage=0.0)
    served = fit_served(shop(), flat)
    assert served is not None
    served = dataclasses.replace(served, options=options)
    found = served.vectors([("a", "view", 6.0), ("c", "buy", 2.0)], ["a", "b", "c", "d"])
    # a and c are similar to b by 2 / √6 and to one another by 1 / 2; ages are 3 half-lives and 1.
    a, c = 3 * 0.5**3, 1 * 0.5
    expected = np.array([c / 2, (a + c) * 2 / np.sqrt(2 * 3), a / 2, 0])
    standard = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose([row[0] for row in found if row], standard, rtol=1e-5)


@pytest.mark.slow
def test_the_item_of_the_page_can_be_the_query(shop: Shop, tmp_path: pathlib.Path) -> None:
    from mmrank.training.loop import train_run

    page: dict[str, Any] = {"name": "page", "kind": "category", "side": "query"}
    dataset = shop(changed={"features": [*FEATURES, page | {"column": "page_item"}]})
    tmp = tmp_path / "run"
    tmp.mkdir()
    run = train_run(from_mapping(Config, CONFIG, "test"), dataset, tmp)
    ranker = Ranker.load(export_run(run, tmp_path / "export", dataset))
    assert "page" in ranker.signatures["rank_items"].structured_input_signature[1]
    scores = [ranker.scores(query={"page": item}, candidates=["a", "b"]) for item in "ad"]
    assert not np.allclose(*scores)
