"""Staged ranking, which encodes queries and items separately, equals ranking by ids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmrank.trained_run import Run

Inputs = dict[str, np.ndarray]
Served = Callable[[str, Inputs], dict[str, np.ndarray]]
PADDED = -1e9
ITEM_ROWS = ("tokens", "present", "match")


@pytest.fixture(scope="module")
def embedding_request(served: Served, id_request: Inputs) -> Inputs:
    """The lists as inputs of `rank_embeddings`, made by the signatures of the earlier steps."""
    contexts = ("query", "query_present", "user", "user_present")
    asked = served("encode_queries", {n: id_request[n] for n in contexts})
    items = id_request["items"]
    found = served("lookup_items", {"items": items.reshape(-1)})
    past = id_request["history_items"]
    events = served("lookup_items", {"items": past.reshape(-1)})
    return {
        **asked,
        **{n: id_request[n] for n in ("overlap", "overlap_present")},
        **{n: found[n].reshape(*items.shape, *found[n].shape[1:]) for n in ITEM_ROWS},
        "list_length": (items != "").sum(1),
        "history_tokens": events["tokens"].reshape(*past.shape, *events["tokens"].shape[1:]),
        "history_known": events["known"].reshape(past.shape),
        **{n: id_request[n] for n in ("history_types", "history_ages")},
    }


@pytest.fixture(scope="module")
def by_id(served: Served, id_request: Inputs) -> np.ndarray:
    return served("rank_items", id_request)["scores"]


def same(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_separate_steps_give_the_same_scores_as_ids(
    served: Served, embedding_request: Inputs, by_id: np.ndarray
) -> None:
    scores = served("rank_embeddings", embedding_request)["scores"]
    same(scores, by_id)
    assert np.ptp(scores[scores > PADDED]) > 1e-3


def test_padding_absent_and_unknown_values_are_ignored(
    served: Served, embedding_request: Inputs, by_id: np.ndarray
) -> None:
    request = {n: v.copy() for n, v in embedding_request.items()}
    padding = np.arange(by_id.shape[1]) >= request["list_length"][:, None]
    request["tokens"][~request["present"] | padding[..., None]] = np.nan
    request["present"][padding] = True
    request["match"][padding] = np.nan
    request["history_tokens"][~request["history_known"]] = np.nan
    assert np.isnan(request["tokens"]).any()
    assert np.isnan(request["history_tokens"]).any()
    same(served("rank_embeddings", request)["scores"], by_id)


def test_removing_a_modality_equals_items_without_it(
    served: Served, run: Run, embedding_request: Inputs, raw_request: Inputs
) -> None:
    photo = run.modalities.index("photo")
    present = embedding_request["present"].copy()
    present[..., photo] = False
    taken = served("rank_embeddings", embedding_request | {"present": present})["scores"]
    flags = {"photo_present": np.zeros_like(raw_request["photo_present"])}
    same(taken, served("serving_default", raw_request | flags)["scores"])
    assert np.abs(taken - served("rank_embeddings", embedding_request)["scores"]).max() > 1e-4


def test_an_omitted_history_is_an_empty_one(
    served: Served, embedding_request: Inputs, id_request: Inputs
) -> None:
    none = {n: v[:, :0] for n, v in embedding_request.items() if n.startswith("history_")}
    blank = {"history_items": np.full(id_request["history_items"].shape, "", object)}
    same(
        served("rank_embeddings", embedding_request | none)["scores"],
        served("rank_items", id_request | blank)["scores"],
    )


def test_ids_are_looked_up(served: Served, raw_request: Inputs, id_request: Inputs) -> None:
    ids = np.array([*id_request["items"][0, :3], "no such item", ""], object)
    found = served("lookup_items", {"items": ids})
    assert found["known"].tolist() == [True, True, True, False, False]
    assert not found["present"][3:].any()
    names = [n for n in raw_request if raw_request[n].ndim == 2 and "history" not in n]
    names = [n for n in names if not n.startswith("overlap")]
    encoded = served("encode_items", {n: raw_request[n][0, :3] for n in names})
    same(found["tokens"][:3], encoded["tokens"])
    np.testing.assert_array_equal(found["present"][:3], encoded["present"])
    nothing = {f"{n}_present": np.zeros(3, bool) for n in names if not n.endswith("_present")}
    absent = served("encode_items", {n: raw_request[n][0, :3] for n in names} | nothing)
    same(found["tokens"][3:], absent["tokens"][:2])


def test_query_and_item_encoders_are_independent(served: Served, id_request: Inputs) -> None:
    asked = {n: id_request[n] for n in ("query", "query_present", "user", "user_present")}
    one = {n: v[:1] for n, v in asked.items()}
    same(served("encode_queries", one)["contexts"], served("encode_queries", asked)["contexts"][:1])
    gone = served("encode_queries", asked | {"query_present": np.zeros(len(asked["query"]), bool)})
    assert gone["contexts_present"].tolist() == [[False, True]] * len(asked["query"])
