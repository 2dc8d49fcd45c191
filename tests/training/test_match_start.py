"""A new ranker orders by its match features, at least as well as by the best of them."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import Config, from_mapping
from mmrank.data.batches import ListArrays
from mmrank.data.tables import Dataset, load_dataset
from mmrank.models import RankingModel
from mmrank.scoring import ListScorer
from mmrank.training.match_start import (
    keep_geometry,
    listwise_weights,
    match_features,
    sampled,
    start_from_matches,
)

SMALL = {
    "model": {
        "width": 8,
        "drop": ["photo"],
        "encoders": {"text": {"layers": 1, "hidden": 16, "heads": 2, "intermediate": 16}},
        "head": {"hidden": [8]},
    }
}


def ndcg(scores: np.ndarray, grades: np.ndarray, offsets: np.ndarray) -> float:
    """NDCG@10 with gain 2^grade − 1, by a plain loop, of lists with a relevant item."""
    found = []
    for a, b in zip(offsets[:-1], offsets[1:], strict=True):
        gains = 2.0 ** grades[a:b].astype(np.float64) - 1
        if gains.max() <= 0:
            continue
        order = np.argsort(-scores[a:b], kind="stable")
        reached = sum(g / np.log2(i + 2) for i, g in enumerate(gains[order][:10]))
        ideal = sum(g / np.log2(i + 2) for i, g in enumerate(np.sort(gains)[::-1][:10]))
        found.append(reached / ideal)
    return float(np.mean(found))


@pytest.fixture(scope="module")
def dataset(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="module")
def started(dataset: Dataset) -> tuple[RankingModel, ListScorer, ListArrays]:
    """A new ranker for the tiny shop, and its training lists."""
    config = from_mapping(Config, SMALL, "test")
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    tf.keras.utils.set_random_seed(3)  # the cosine of random encoders is one of the features
    model = build_model(config, features)
    arrays = features.arrays(dataset, dataset.rows("train"))
    scorer = ListScorer(model, 8, (16, 64))
    start_from_matches(model, scorer, arrays)
    return model, scorer, arrays


def test_a_new_ranker_is_as_good_as_the_best_match_feature(
    started: tuple[RankingModel, ListScorer, ListArrays],
) -> None:
    model, scorer, arrays = started
    features, there = match_features(model, scorer, arrays)
    columns = np.where(there, features, 0.0)
    best = max(
        ndcg(sign * columns[:, f], arrays.grades, arrays.offsets)
        for f in range(columns.shape[1])
        for sign in (1, -1)
    )
    assert ndcg(scorer(arrays), arrays.grades, arrays.offsets) >= best - 1e-6
    assert best > ndcg(np.zeros(len(columns)), arrays.grades, arrays.offsets) + 0.05


def test_the_first_scores_come_only_from_match_features(
    started: tuple[RankingModel, ListScorer, ListArrays],
) -> None:
    model, scorer, arrays = started
    assert model.matcher is not None
    assert model.residual is not None
    features, there = match_features(model, scorer, arrays)
    mean, deviation = model.matcher.mean.numpy(), model.matcher.deviation.numpy()
    scaled = np.where(there, np.clip((features - mean) / deviation, -5, 5), 0)
    expected = scaled @ model.residual.kernel.numpy()[:, 0]
    np.testing.assert_allclose(scorer(arrays), expected, atol=1e-4)


def test_features_are_normalised_over_present_values(
    started: tuple[RankingModel, ListScorer, ListArrays],
) -> None:
    model, scorer, arrays = started
    assert model.matcher is not None
    features, there = match_features(model, scorer, arrays)
    for f in range(features.shape[1]):
        known = features[there[:, f], f].astype(np.float64)
        if len(known) and known.std() > 1e-5:
            assert model.matcher.mean.numpy()[f] == pytest.approx(known.mean(), abs=1e-4)
            assert model.matcher.deviation.numpy()[f] == pytest.approx(known.std(), rel=1e-3)


def test_weights_recover_a_linear_ranker() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=[2000, 4])
    offsets = np.arange(0, 2001, 10)
    truth = features @ [2.0, -1.0, 0.0, 0.0]
    gains = np.zeros(2000)
    for a in offsets[:-1]:
        gains[a + np.argsort(-truth[a : a + 10])[:3]] = [3.0, 1.0, 1.0]
    weights, actual = listwise_weights(features, offsets, gains, list("abcd"))
    assert weights[0] > 0 > weights[1]
    assert weights[0] / -weights[1] == pytest.approx(2.0, rel=0.25)
    assert np.abs(weights[2:]).max() < 0.2 * weights[0]
    assert "4 match features" in actual


def test_with_few_lists_only_the_best_feature_remains() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=[60, 40])
    offsets = np.arange(0, 61, 10)
    gains = (features[:, 7] > 1).astype(np.float64)
    gains[::10] += 1e-3  # every list has a candidate that is better than another
    weights, actual = listwise_weights(features, offsets, gains, [f"f{i}" for i in range(40)])
    assert weights.argmax() == 7
    assert weights[7] > 2 * np.abs(np.delete(weights, 7)).max()
    assert "f7" in actual


def test_a_feature_of_ties_is_not_the_best_of_a_log() -> None:
    """Clicks come first in a log: a constant would be perfect if ties kept the order shown."""
    rng, lists, length = np.random.default_rng(1), 300, 5
    offsets = np.arange(0, lists * length + 1, length)
    clicks = np.tile([1.0] + [0.0] * (length - 1), lists)
    informed = clicks + rng.normal(0, 0.7, len(clicks))
    features = np.stack([np.zeros(len(clicks)), informed], -1)
    weights, summary = listwise_weights(features, offsets, clicks, ["same", "good"], logged=True)
    assert weights[1] > 0
    assert "good alone" in summary
    _, as_shown = listwise_weights(features, offsets, clicks, ["same", "good"])
    assert "same alone" in as_shown


def test_lists_with_equal_grades_give_no_weights() -> None:
    weights, actual = listwise_weights(np.ones([4, 2]), np.array([0, 2, 4]), np.ones(4), ["a", "b"])
    assert not weights.any()
    assert "no list" in actual


def test_a_projection_begins_as_one_map_of_both_sides(
    started: tuple[RankingModel, ListScorer, ListArrays],
) -> None:
    model, scorer, arrays = started
    assert model.matcher is not None
    pairs = model.matcher.rows.vectors
    assert {(p.query, p.item) for p in pairs} >= {("query", "title")}
    keep_geometry(model, scorer, arrays)
    items = model.item_tower.get_layer("item_tokens")
    queries = model.context_tower.get_layer("query_tokens")
    for pair in pairs:
        one = items.projections[items.names.index(pair.item)]
        kernel = one.kernel.numpy()
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(8), atol=1e-4)
    last = pairs[-1]
    mine = items.projections[items.names.index(last.item)]
    theirs = queries.projections[queries.names.index(last.query)]
    np.testing.assert_array_equal(mine.kernel, theirs.kernel)


def test_sampled_lists_are_complete(started: tuple[RankingModel, ListScorer, ListArrays]) -> None:
    *_, arrays = started
    some = sampled(arrays, 100, seed=1)
    assert 0 < len(some.candidates) <= 100
    assert some.offsets[-1] == len(some.candidates) == len(some.grades)
    assert len(some.users) == len(some.lengths) == len(some.times)
    whole = {tuple(arrays.candidates[a:b]) for a, b in zip(arrays.offsets, arrays.offsets[1:])}  # noqa: B905, RUF007
    for a, b in zip(some.offsets, some.offsets[1:]):  # noqa: B905, RUF007
        assert tuple(some.candidates[a:b]) in whole
