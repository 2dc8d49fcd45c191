"""`Ranker`: the model's scores, and clear errors for invalid requests."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmrank
from mmrank.serving.ranker import Ranker
from mmrank.serving.request import RankError

Inputs = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def request_of(id_request: Inputs, lists: list[Any]) -> dict[str, Any]:
    """The longest list's arguments except candidates; its events are latest first."""
    events = zip(*(id_request[f"history_{r}"][-1] for r in ("items", "types", "ages")), strict=True)
    return {
        "query": lists[-1]["query"].iloc[0],
        "user": lists[-1]["user_id"].iloc[0],
        "history": [event for event in events if event[0]][::-1],
        "pairs": [{"overlap": v} for v in lists[-1]["position"]],
    }


def test_by_ids(
    ranker: Ranker, lists: list[Any], expected: list[np.ndarray], request_of: dict[str, Any]
) -> None:
    ids = lists[-1]["item_id"].tolist()
    scores = ranker.scores(candidates=ids, **request_of)
    np.testing.assert_allclose(scores, expected[-1], rtol=0, atol=1e-5)
    ranked = ranker.rank(candidates=iter(ids), **request_of)
    assert [r.score for r in ranked] == sorted(scores.tolist(), reverse=True)
    assert [r.item for r in ranked] == [ids[r.index] for r in ranked]
    assert sorted(r.index for r in ranked) == list(range(len(ids)))


def test_by_raw_features(
    ranker: Ranker,
    raw_request: Inputs,
    expected: list[np.ndarray],
    request_of: dict[str, Any],
) -> None:
    columns = [c.name for c in ranker.inputs.columns.values() if c.side == "item"]
    candidates = [
        {n: raw_request[n][-1, i] for n in columns if raw_request[f"{n}_present"][-1, i]}
        for i in range(raw_request["list_length"][-1])
    ]
    scores = ranker.scores(candidates=candidates, **request_of)
    np.testing.assert_allclose(scores, expected[-1], rtol=0, atol=1e-5)
    # Features of the pair may be given with the candidate.
    pairs = request_of["pairs"]
    joined = [c | p for c, p in zip(candidates, pairs, strict=True)]
    again = ranker.scores(candidates=joined, **request_of | {"pairs": None})
    np.testing.assert_allclose(again, scores, rtol=0, atol=1e-6)


def test_reviews_come_as_texts_or_mappings(ranker: Ranker) -> None:
    said = [
        [{"text": "good", "age_days": 4, "helpful": 9}, "坏", " "],
        '[{"text": "good", "age_days": 4.2, "helpful": 9}, "坏"]',
        "good\x1f4\x1f9\x1e坏",
        "good",
        [],
    ]
    scores = ranker.scores(query="red", candidates=[{"reviews": value} for value in said])
    np.testing.assert_allclose(scores[1:3], scores[0], rtol=0, atol=1e-6)
    assert len(set(np.round(scores, 6))) == 3
    with pytest.raises(RankError, match="candidate 0: reviews: expected a list of reviews, got 5"):
        ranker.scores(candidates=[{"reviews": 5}])
    with pytest.raises(RankError, match="the age of a review in days as 'age_days', not its time"):
        ranker.scores(candidates=[{"reviews": [{"text": "a", "time": "2024-01-01"}]}])


def test_equal_scores_keep_their_order(ranker: Ranker) -> None:
    ranked = ranker.rank(query="red", candidates=["unknown", "as unknown", "also"])
    assert len({r.score for r in ranked}) == 1
    assert [r.index for r in ranked] == [0, 1, 2]
    # An unknown id scores as a product without any known feature.
    nothing = ranker.scores(query="red", candidates=[{}, {}, {}])
    np.testing.assert_allclose(nothing, [r.score for r in ranked], atol=1e-6)


def test_candidates_alone_are_enough(exported: pathlib.Path, ranker: Ranker) -> None:
    assert mmrank.Ranker is Ranker
    assert len(ranker.rank(candidates=["P000001", "P000002"])) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "candidates: the list is empty"),
        ({"candidates": "P000001"}, "expected a list, got one str"),
        ({"candidates": ["P000001", {"title": "a"}]}, "1 is a mapping.*0 an item id"),
        ({"candidates": [{"titel": "a"}]}, "candidate 0: .*did you mean 'title'"),
        ({"candidates": ["a"], "pairs": [{}, {}]}, "pairs: 2 for 1 candidates"),
        ({"candidates": ["a"], "pairs": pd.DataFrame([{}])}, "pairs: expected a list, got a Data"),
        ({"candidates": ["a"], "pairs": {"overlap": 1}}, "pairs: expected a mapping for each"),
        ({"candidates": ["a"], "query": {"text": "a"}}, "query: unknown feature 'text'"),
        ({"candidates": ["a"], "query": 1.5}, "query: query: expected a text"),
    ],
)
def test_wrong_requests(ranker: Ranker, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RankError, match=message):
        ranker.rank(**arguments)


def test_wrong_folders(tmp_path: pathlib.Path, exported: pathlib.Path) -> None:
    with pytest.raises(RankError, match="holds no SavedModel.*mmrank.export"):
        Ranker.load(tmp_path)
    (tmp_path / "2").mkdir()
    shutil.copy(exported / "saved_model.pb", tmp_path / "2")
    with pytest.raises(RankError, match="2: no assets.extra/ranker.json"):
        Ranker.load(tmp_path)
    (tmp_path / "2" / "assets.extra").mkdir()
    (tmp_path / "2" / "assets.extra" / "ranker.json").write_text('{"format": 99}')
    with pytest.raises(RankError, match="format 99, while this mmrank reads 1"):
        Ranker.load(tmp_path)
