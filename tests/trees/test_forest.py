"""Symmetric trees as arrays, as CatBoost computes them, and as TensorFlow ops."""

from __future__ import annotations

import json
import pathlib

import catboost
import numpy as np
import pytest
import tensorflow as tf

from mmrank.trees.forest import Forest, read_catboost
from mmrank.trees.layer import ForestScores

# Two trees of at most two questions, by hand: x0 > 1 decides bit 0, x1 > 0 decides bit 1.
HAND = Forest(
    np.array([[0, 1], [1, 0]], np.int32),
    np.array([[1.0, 0.0], [2.0, np.inf]], np.float32),
    np.array([[1.0, 2.0, 4.0, 8.0], [0.5, -0.5, 0.0, 0.0]], np.float32),
    bias=10.0,
)
ROWS = np.array([[0, 0], [2, 0], [0, 1], [2, 1], [2, 3], [1, 0]], np.float32)
SAID = [11.5, 12.5, 14.5, 18.5, 17.5, 11.5]  # a value equal to a border is not above it


def random_forest(trees: int = 7, depth: int = 3, features: int = 4) -> Forest:
    random = np.random.default_rng(0)
    return Forest(
        random.integers(0, features, [trees, depth]).astype(np.int32),
        random.normal(size=[trees, depth]).astype(np.float32),
        random.normal(size=[trees, 2**depth]).astype(np.float32),
        bias=0.25,
    )


def test_a_forest_sums_the_leaves_that_are_reached() -> None:
    np.testing.assert_array_equal(HAND.scores(ROWS), np.float32(SAID))


def test_ops_equal_a_walk_down_each_tree() -> None:
    forest = random_forest()
    features = np.random.default_rng(1).normal(size=[3, 5, 4]).astype(np.float32)

    def walked(row: np.ndarray) -> float:
        total = forest.bias
        for tree in range(len(forest.leaves)):
            position = 0
            for level in range(forest.features.shape[1]):
                if row[forest.features[tree, level]] > forest.borders[tree, level]:
                    position |= 1 << level
            total += float(forest.leaves[tree, position])
        return total

    expected = [[walked(row) for row in rows] for rows in features]
    layer = ForestScores(forest)
    np.testing.assert_allclose(layer(features), expected, rtol=1e-5, atol=1e-5)
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 4])])
    np.testing.assert_allclose(traced(features), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(forest.scores(features.reshape(-1, 4)), np.ravel(expected), 1e-5)
    assert not layer.weights  # a checkpoint from before the trees still loads


@pytest.mark.parametrize("loss", ["RMSE", "YetiRank", "QueryRMSE"])
def test_scores_are_those_of_catboost(loss: str, tmp_path: pathlib.Path) -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=[200, 5]).astype(np.float32)
    grades = np.maximum(features[:, 0] * features[:, 1], 0.0) + (features[:, 2] > 0.5)
    model = catboost.CatBoost(
        {
            "loss_function": loss,
            "iterations": 20,
            "depth": 3,
            "verbose": False,
            "allow_writing_files": False,
            "random_seed": 0,
        }
    )
    model.fit(catboost.Pool(features, grades, group_id=np.arange(200) // 10))
    file = tmp_path / "model.json"
    model.save_model(str(file), format="json")
    forest = read_catboost(file)
    assert forest.features.shape == (20, 3)
    other = random.normal(size=[50, 5]).astype(np.float32)
    np.testing.assert_allclose(forest.scores(other), model.predict(other), atol=1e-5)


def test_trees_of_other_shapes_are_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"trees": []}))
    with pytest.raises(ValueError, match="SymmetricTree"):
        read_catboost(file)
    split = {"split_type": "OneHotFeature", "cat_feature_index": 0, "value": 1}
    tree = {"splits": [split], "leaf_values": [0.0, 1.0]}
    file.write_text(json.dumps({"oblivious_trees": [tree], "scale_and_bias": [1, [0]]}))
    with pytest.raises(ValueError, match="OneHotFeature"):
        read_catboost(file)
    with pytest.raises(ValueError, match="one depth"):
        Forest(np.zeros([2, 3], np.int32), np.zeros([2, 3], np.float32), np.zeros([2, 4]))


def test_the_size_counts_splits_and_leaves() -> None:
    # Seven trees with three questions (a feature and a border each) and eight leaves, 4 bytes each.
    assert random_forest().size == 4 * (7 * 3 + 7 * 3 + 7 * 8)


def test_a_forest_survives_json() -> None:
    for forest in (HAND, random_forest()):
        again = Forest.restored(json.loads(json.dumps(forest.state(), allow_nan=False)))
        for name in ("features", "borders", "leaves"):
            np.testing.assert_array_equal(getattr(again, name), getattr(forest, name))
        assert again.bias == forest.bias
    layer = ForestScores.from_config(ForestScores(HAND).get_config())
    np.testing.assert_allclose(layer(ROWS[None])[0], SAID)


def test_a_forest_without_trees_returns_the_bias() -> None:
    empty = Forest(np.zeros([0, 0], np.int32), np.zeros([0, 0], np.float32), np.zeros([0, 1]), 3.0)
    np.testing.assert_array_equal(empty.scores(ROWS), np.full(len(ROWS), 3.0))
    np.testing.assert_array_equal(ForestScores(empty)(ROWS[None])[0], np.full(len(ROWS), 3.0))
