"""Staged ranking from stores of item vectors equals ranking in one step."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from mmrank.data.tables import Dataset
from mmrank.serving.embeddings.base import VectorShape
from mmrank.serving.embeddings.opened import EmbeddingStores
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.embeddings.packed import Packing
from mmrank.serving.embeddings.redis_store import connect, item_key
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError
from mmrank.serving.shares import shares_of
from mmrank.serving.staged import StagedRanker
from mmrank.trained_run import Run
from pipelines import load_redis

Inputs = dict[str, np.ndarray]
NEW = {"title": "Linen summer dress", "price": 49.0}


@pytest.fixture(scope="module")
def staged(exported: pathlib.Path) -> StagedRanker:
    return StagedRanker.load(exported)


@pytest.fixture(scope="module")
def asked(id_request: Inputs) -> dict[str, Any]:
    """The longest list as a client's request."""
    at = int((id_request["items"] != "").sum(1).argmax())
    events = zip(*(id_request[f"history_{r}"][at] for r in ("items", "types", "ages")), strict=True)
    items = [item for item in id_request["items"][at] if item]
    return {
        "query": id_request["query"][at],
        "user": id_request["user"][at],
        "history": [event for event in events if event[0]],
        "candidates": items,
        "pairs": [{"overlap": float(v)} for v in id_request["overlap"][at][: len(items)]],
    }


def steps(asked: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The request for `StagedRanker.rank`: an id and its pair features form one product."""
    both = zip(asked["candidates"], asked["pairs"], strict=True)
    products = [{"item": item, **pair} for item, pair in both]
    kept = {n: asked[n] for n in ("query", "user", "history")}
    return {**kept, "candidates": products, **changed}


def same(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_staged_ranking_gives_the_same_order(
    staged: StagedRanker, ranker: Ranker, asked: dict[str, Any]
) -> None:
    want = ranker.scores(**asked)
    got = staged.rank(**steps(asked))
    same(got.scores, want)
    assert np.ptp(want) > 1e-3
    assert (np.diff(got.scores[got.order]) <= 0).all()
    assert got.ids == tuple(asked["candidates"])
    assert set(got.sources) == {"export"}
    assert not got.unavailable


def test_products_and_ids_may_be_mixed(
    staged: StagedRanker, ranker: Ranker, asked: dict[str, Any]
) -> None:
    ids = asked["candidates"][:3]
    mixed = [ids[0], NEW, ids[1], {"item": "no such item"}, {"item": "unheard of", **NEW}]
    got = staged.rank("red", mixed)
    assert got.sources.tolist() == ["export", "encoded", "export", "unknown", "encoded"]
    assert got.ids == (ids[0], "", ids[1], "no such item", "unheard of")
    assert got.scores[1] == pytest.approx(got.scores[4], abs=1e-5)
    # A list of only new products also has the scores of one step.
    other = {"title": "Blue mug", "tags": ["kitchen", "mug"]}
    same(staged.rank("red", [NEW, other]).scores, ranker.scores("red", [NEW, other]))


def test_a_known_id_is_looked_up_even_with_other_features(
    staged: StagedRanker, asked: dict[str, Any]
) -> None:
    ids = asked["candidates"][:2]
    plain = staged.rank("red", ids).scores
    got = staged.rank("red", [{"item": ids[0], **NEW}, ids[1]])
    same(got.scores, plain)
    assert got.unused == 1  # the unused features are reported


def test_a_query_is_encoded_once(ranker: Ranker, asked: dict[str, Any]) -> None:
    fresh = StagedRanker.over(ranker.card, ranker.run, EmbeddingStores(EmbeddingOptions()))
    assert fresh.rank(**steps(asked)).remembered is False
    again = fresh.rank(**steps(asked, candidates=asked["candidates"][:2]))
    assert again.remembered is True
    assert fresh.rank(**steps(asked, user="somebody else")).remembered is False


def test_shares_are_the_change_of_scores_without_each_modality(
    staged: StagedRanker, ranker: Ranker, run: Run, asked: dict[str, Any]
) -> None:
    got = staged.rank(**steps(asked), explain=True)
    want = ranker.scores(**asked)
    same(got.scores, want)
    assert got.shares is not None
    assert set(got.shares.names) == {*run.modalities, "query", "user", "overlap", "history"}
    # For parts that a request can leave out, the effect equals that of leaving them out.
    for name, less in (
        ("query", {**asked, "query": None}),
        ("history", {**asked, "history": None}),
        ("overlap", {**asked, "pairs": None}),
    ):
        without = ranker.scores(**less)
        effect = (want - want.mean()) - (without - without.mean())
        at = got.shares.names.index(name)
        np.testing.assert_allclose(got.shares.effects[at], effect, rtol=0, atol=3e-5)
        assert np.abs(effect).max() > 1e-4
    assert got.shares.overall.sum() == pytest.approx(1)


def test_an_items_modality_is_taken_from_every_candidate(staged: StagedRanker) -> None:
    products = [NEW, {"title": "Blue mug", "price": 9.0, "brand": "Nordic"}, {"price": 3.0}]
    got = staged.rank("red", products, explain=True)
    bare = [{n: v for n, v in p.items() if n != "title"} for p in products]
    without = staged.rank("red", bare).scores
    effect = (got.scores - got.scores.mean()) - (without - without.mean())
    assert got.shares is not None
    assert set(got.shares.names) == {"title", "price", "brand", "query"}
    title = got.shares.names.index("title")
    np.testing.assert_allclose(got.shares.effects[title], effect, rtol=0, atol=3e-5)
    assert got.absent["title"] == pytest.approx(1 / 3)
    assert got.absent["photo"] == 1.0


def test_shares_by_hand() -> None:
    scores = np.array([3.0, 1.0])  # minus the mean: 1, −1
    without = np.array([[5.0, 5.0], [9.0, 8.0], [7.0, 5.0]])  # 0, 0; .5, −.5; 1, −1
    got = shares_of(["a", "b", "c"], scores, without)
    np.testing.assert_allclose(got.effects, [[1, -1], [0.5, -0.5], [0, 0]])
    np.testing.assert_allclose(got.shares, [[2 / 3, 2 / 3], [1 / 3, 1 / 3], [0, 0]])
    np.testing.assert_allclose(got.overall, [2 / 3, 1 / 3, 0])
    alone = shares_of(["a"], np.array([3.0]), np.array([[1.0]]))
    np.testing.assert_array_equal(alone.shares, [[0.0]])
    np.testing.assert_array_equal(alone.overall, [0.0])


@pytest.mark.parametrize(
    ("candidates", "actual"),
    [
        ([], "at least one"),
        ("P1", "expected a list"),
        ([{"titel": "x"}], "'titel'"),
        ([{"query": "x"}], "'query'"),
        ([None], "candidate 0"),
        (["a", {"item": 1.5}], "candidate 1"),
        ([{"price": "cheap"}], "candidate 0: price"),
        (["P1", {"item": ""}], "empty"),
    ],
)
def test_wrong_candidates_are_reported(staged: StagedRanker, candidates: Any, actual: str) -> None:
    with pytest.raises(RankError, match=actual):
        staged.rank("red", candidates)


def test_redis_is_used_first_and_the_rest_while_it_is_unavailable(
    redis_server: Any, ranker: Ranker, asked: dict[str, Any]
) -> None:
    ids = asked["candidates"][:3]
    table = ranker.run("lookup_items", {"items": np.array(ids, object)})
    shape = VectorShape(*table["tokens"].shape[1:], table["match"].shape[1])
    # Only in Redis: the vectors of the first item, under two new ids.
    first = (table[n][[0, 0]] for n in ("tokens", "present", "match"))
    rows = Packing(shape).pack(*first, "float32")
    client = connect(redis_server.address, 1000)
    for name, row in zip(("grown", "late"), rows, strict=True):
        client.set(item_key("mmrank", ranker.card.fingerprint, name), row)
    options = EmbeddingOptions(redis=redis_server.address, timeout_ms=500)
    staged = StagedRanker.over(ranker.card, ranker.run, EmbeddingStores(options))

    here = staged.rank("red", ["grown", *ids[1:], NEW])
    same(here.scores, staged.rank("red", [ids[0], *ids[1:], NEW]).scores)
    assert here.sources.tolist() == ["redis", "export", "export", "encoded"]

    redis_server.stop()
    # From the cache, from the export, from the request's features, and unknown: never an error.
    gone = staged.rank("red", ["grown", ids[1], {"item": "late", **NEW}, "late"])
    assert gone.unavailable
    assert gone.sources.tolist() == ["cache", "export", "encoded", "unknown"]
    plain = StagedRanker.over(ranker.card, ranker.run, EmbeddingStores(EmbeddingOptions()))
    same(gone.scores, plain.rank("red", [ids[0], ids[1], NEW, {"item": "late"}]).scores)


def test_redis_is_filled_from_an_export(
    redis_server: Any,
    ranker: Ranker,
    exported: pathlib.Path,
    dataset: Dataset,
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["--redis", redis_server.address, "--export", str(exported)]
    assert load_redis.main(command) == 2
    assert "--data" in capsys.readouterr().err
    assert load_redis.main([*command, "--data", str(dataset.folder)]) == 0
    assert f"{len(dataset.item_ids)} items" in capsys.readouterr().out
    options = EmbeddingOptions(redis=redis_server.address, timeout_ms=500)
    staged = StagedRanker.over(ranker.card, ranker.run, EmbeddingStores(options))
    got = staged.rank(**steps(asked))
    assert set(got.sources) == {"redis"}
    same(got.scores, ranker.scores(**asked))
