"""Trees ahead of a network: a list's labels do not affect the tree scores that training reads."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from mmrank.outputs import UserError
from mmrank.trees.forest import Forest, mean_forest
from mmrank.trees.part import Part
from mmrank.trees.stack import Stack, assign_folds, grow_stack, in_chunks

LISTS, FOLDS = 30, 3
NAMES = ("a", "b", "c", "d")
OPTIONS = {
    "losses": ["QueryRMSE", "YetiRank"],
    "depths": [2, 3],
    "rounds": 15,
    "learning_rate": 0.2,
    "patience": 10,
}


def part(seed: int) -> Part:
    """Lists of eight with a product of two of four features as grade."""
    random = np.random.default_rng(seed)
    features = random.normal(size=[8 * LISTS, 4]).astype(np.float32)
    noisy = features[:, 0] * features[:, 1] + 0.5 * random.normal(size=8 * LISTS)
    grades = np.clip(np.round(noisy), 0, 3).astype(np.float32)
    return Part(features, grades, np.arange(0, 8 * LISTS + 1, 8))


VALID = part(1)
QUERIES = np.array([f"q{i // 2}" for i in range(LISTS)])  # two lists of each


def figure(scores: np.ndarray) -> float:
    return float(np.corrcoef(scores, VALID.grades)[0, 1])


@pytest.fixture(scope="module")
def parts() -> np.ndarray:
    return assign_folds(QUERIES, np.full(LISTS, 8), FOLDS, seed=4)


def grown(train: Part, parts: np.ndarray) -> Stack:
    return grow_stack(train, VALID, figure, NAMES, parts, **OPTIONS)


@pytest.fixture(scope="module")
def stack(parts: np.ndarray) -> Stack:
    return grown(part(0), parts)


def test_no_grade_of_a_list_reaches_its_own_score(stack: Stack, parts: np.ndarray) -> None:
    train = part(0)
    before = stack.out_of_fold(train.features, train.offsets)
    for flipped in (0, 13):
        rows = slice(8 * flipped, 8 * flipped + 8)
        grades = train.grades.copy()
        grades[rows] = 3.0 - grades[rows]
        other = grown(dataclasses.replace(train, grades=grades), parts)
        after = other.out_of_fold(train.features, train.offsets)
        moved = (before != after).reshape(LISTS, 8).any(1)
        # Neither the scores of the list change, nor those of the other list of its query.
        assert not moved[QUERIES[flipped] == QUERIES].any()
        assert not moved[parts == parts[flipped]].any()
        assert moved[parts != parts[flipped]].any()  # the check above can fail


def test_each_list_is_scored_by_trees_grown_on_the_other_parts(
    stack: Stack, parts: np.ndarray
) -> None:
    train = part(0)
    scores = stack.out_of_fold(train.features, train.offsets)
    for k in range(FOLDS):
        rows = np.repeat(parts == k, 8)
        # Random grades in part k leave forest k unchanged, which is grown on the other parts.
        noisy = part(0)
        noisy.grades[rows] = np.random.default_rng(7).integers(0, 4, rows.sum())
        again = grown(noisy, parts).forests[k]
        np.testing.assert_array_equal(again.leaves, stack.forests[k].leaves)
        np.testing.assert_array_equal(again.scores(train.features[rows]), scores[rows])


def test_forests_have_one_scale_on_the_validation_lists(stack: Stack) -> None:
    for forest in stack.forests:
        scores = forest.scores(VALID.features).astype(np.float64).reshape(LISTS, 8)
        assert scores.mean() == pytest.approx(0.0, abs=1e-5)
        inside = scores - scores.mean(1, keepdims=True)
        assert inside.std() == pytest.approx(1.0, abs=1e-5)


def test_other_lists_are_scored_by_the_mean_of_all_forests(stack: Stack) -> None:
    expected = np.mean([f.scores(VALID.features) for f in stack.forests], axis=0)
    np.testing.assert_allclose(stack.forest.scores(VALID.features), expected, atol=1e-5)
    one = Forest(np.zeros([1, 1], np.int32), np.zeros([1, 1], np.float32), np.array([[1, 3]], "f4"))
    two = Forest(
        np.array([[0, 1]], np.int32),
        np.zeros([1, 2], np.float32),
        np.array([[0, 2, 4, 8]], "f4"),
        2.0,
    )
    rows = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
    # (1, 3, 1, 3) and (2, 4, 6, 10)
    np.testing.assert_allclose(mean_forest([one, two]).scores(rows), [1.5, 3.5, 3.5, 6.5])


def test_lists_of_a_query_share_a_part_and_parts_are_balanced() -> None:
    random = np.random.default_rng(0)
    queries = random.integers(0, 40, 100).astype(str)
    lengths = random.integers(1, 30, 100)
    parts = assign_folds(queries, lengths, 5, seed=1)
    for query in np.unique(queries):
        assert len(np.unique(parts[queries == query])) == 1
    rows = np.bincount(parts, lengths)
    largest = np.bincount(np.unique(queries, return_inverse=True)[1], lengths).max()
    assert len(rows) == 5
    assert rows.max() - rows.min() <= largest
    np.testing.assert_array_equal(parts, assign_folds(queries, lengths, 5, seed=1))
    assert (parts != assign_folds(queries, lengths, 5, seed=2)).any()
    with pytest.raises(ValueError, match="2 distinct queries cannot be split into 3 parts"):
        assign_folds(np.array(["a", "b", "a"]), np.ones(3), 3, seed=0)


def test_a_stack_is_saved_and_loaded(stack: Stack, tmp_path: pathlib.Path) -> None:
    train = part(0)
    stack.save(tmp_path / "trees.json")
    again = Stack.load(tmp_path / "trees.json")
    assert again.names == stack.names
    assert again.figures == stack.figures
    np.testing.assert_array_equal(
        again.out_of_fold(train.features, train.offsets),
        stack.out_of_fold(train.features, train.offsets),
    )
    with pytest.raises(ValueError, match="grown on 30 training lists, but there are 29"):
        again.out_of_fold(train.features[8:], train.offsets[:-1])
    (tmp_path / "trees.json").write_text('{"names": []}')
    with pytest.raises(UserError, match="holds no trees of a stacked run"):
        Stack.load(tmp_path / "trees.json")


def test_scores_do_not_depend_on_the_chunk_size(stack: Stack) -> None:
    features = np.random.default_rng(2).normal(size=[9_000, 4]).astype(np.float32)
    np.testing.assert_array_equal(
        in_chunks(stack.forest, features)[-10:], stack.forest.scores(features[-10:])
    )
    assert in_chunks(stack.forest, features[:0]).shape == (0,)
