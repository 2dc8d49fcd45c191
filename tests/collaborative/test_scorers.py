from __future__ import annotations

import itertools
from math import log, sqrt

import numpy as np
import pytest
import scipy.sparse as sp

from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.collaborative.base import Asked, Scorer, strongest
from mmrank.collaborative.content import ContentFactors
from mmrank.collaborative.gmf import Gmf
from mmrank.collaborative.itemknn import ItemNeighbours
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.pmi import PmiVectors, shifted_positive_pmi
from mmrank.collaborative.scorers import SCORERS, make_scorers
from mmrank.collaborative.userknn import UserNeighbours
from mmrank.config import ConfigError

OPTIONS = CollaborativeOptions(factors=3, shrinkage=2.0, epochs=2)
A, B, C, D, E = range(5)


def asked(history: list[list[float]], shoppers: list[int] | None = None) -> Asked:
    """Every item for every history."""
    rows = sp.csr_matrix(np.array(history, float))
    lists, items = np.divmod(np.arange(rows.shape[0] * 5), 5)
    return Asked(rows, np.array(shoppers or [-1] * rows.shape[0]), lists, items)


def test_item_neighbours_by_hand(matrix: sp.csr_matrix) -> None:
    scorer = ItemNeighbours(OPTIONS)
    scorer.fit(matrix)
    # Columns a {u, v}, b {u, v, w}, c {u, w}, d {x}; shrunk by n / (n + 2).
    ab = 2 / sqrt(2 * 3) * 2 / 4
    ac = 1 / 2 * 1 / 3
    bc = 2 / sqrt(3 * 2) * 2 / 4
    scores = scorer.score(asked([[1, 0, 0, 0, 0], [2, 0, 1, 0, 0]])).reshape(2, 5)
    np.testing.assert_allclose(scores[0], [0, ab, ac, 0, 0], atol=1e-6)
    np.testing.assert_allclose(scores[1], [ac, 2 * ab + bc, 2 * ac, 0, 0], atol=1e-6)


def test_only_the_nearest_neighbours_count(matrix: sp.csr_matrix) -> None:
    scorer = ItemNeighbours(CollaborativeOptions(neighbours=1, shrinkage=2.0))
    scorer.fit(matrix)
    scores = scorer.score(asked([[1, 0, 0, 0, 0]]))
    np.testing.assert_array_equal(scores > 0, [False, True, False, False, False])


def test_user_neighbours_equal_plain_loops(matrix: sp.csr_matrix) -> None:
    scorer = UserNeighbours(CollaborativeOptions(neighbours=2))
    scorer.fit(matrix)
    met = matrix.toarray()
    rarity = [log(1 + 4 / max(sum(met[:, i]), 1)) for i in range(5)]
    history, self_number = [1, 0, 0, 1, 0], 0

    def cosine(left: list[float], right: list[float]) -> float:
        def dot(x: list[float], y: list[float]) -> float:
            return sum(p * q * r * r for p, q, r in zip(x, y, rarity, strict=True))

        return dot(left, right) / sqrt(dot(left, left) * dot(right, right))

    for exclude in (-1, self_number):
        likes = {n: cosine(history, list(met[n])) for n in range(4) if n != exclude}
        nearest = sorted(likes, key=lambda n: -likes[n])[:2]
        expected = [sum(likes[n] * met[n, i] for n in nearest) for i in range(5)]
        found = scorer.score(asked([history], [exclude]))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_shifted_positive_pmi_by_its_formula(matrix: sp.csr_matrix) -> None:
    together = {(A, B): 2, (A, C): 1, (B, C): 2}
    together |= {(j, i): n for (i, j), n in together.items()}
    margin = [3.0, 4.0, 3.0, 0.0, 0.0]  # a: 2 + 1, b: 2 + 2, c: 1 + 2
    smooth = [m**0.75 for m in margin]
    total = sum(margin)
    expected = np.zeros([5, 5])
    for (i, j), n in together.items():
        chance = margin[i] * smooth[j] / sum(smooth)
        expected[i, j] = max(log(n / chance) * n / (n + 0.5) - log(1.2), 0.0)
    assert (expected > 0).any()
    assert expected[A, C] == 0  # seen together less often than that
    assert total == 10
    found = shifted_positive_pmi(matrix, 1.2, 0.5).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pmi_scores_are_dot_products_with_the_mean_of_the_history(matrix: sp.csr_matrix) -> None:
    scorer = PmiVectors(CollaborativeOptions(factors=2, shift=0.8, shrinkage=0.0))
    scorer.fit(matrix)
    words, contexts = scorer.arrays()["words"], scorer.arrays()["contexts"]
    left, values, right = np.linalg.svd(shifted_positive_pmi(matrix, 0.8).toarray())
    nearest = left[:, :2] * values[:2] @ right[:2]
    np.testing.assert_allclose(words @ contexts.T, nearest, atol=1e-5)
    found = scorer.score(asked([[1, 3, 0, 0, 0]]))
    expected = [(1 * words[A] + 3 * words[B]) / 4 @ contexts[i] for i in range(5)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_als_folds_a_shopper_in_by_equation_4(matrix: sp.csr_matrix) -> None:
    pytest.importorskip("implicit")
    options = CollaborativeOptions(factors=3, confidence=4.0, regularization=0.5)
    scorer = AlternatingLeastSquares(options)
    scorer.fit(matrix)
    items = scorer.arrays()["factors"].astype(float)
    assert np.abs(items).max() > 0
    history = np.array([2.0, 0, 1, 0, 0])
    confidence = np.diag(1 + 4.0 * history)
    left = items.T @ confidence @ items + 0.5 * np.eye(3)
    shopper = np.linalg.solve(left, items.T @ confidence @ (history > 0))
    np.testing.assert_allclose(scorer.score(asked([list(history)])), items @ shopper, rtol=1e-5)


def test_gmf_scores_equal_plain_numpy_and_the_tower(matrix: sp.csr_matrix) -> None:
    from mmrank.collaborative.gmf_tower import GmfTower

    generator = np.random.default_rng(3)
    met, offered = generator.normal(size=(2, 5, 3))
    output = generator.normal(size=3)
    scorer = Gmf(OPTIONS)
    scorer.restore({"met": met, "offered": offered, "output": output})
    shopper = (2 * met[A] + 1 * met[C]) / sqrt(2**2 + 1**2)
    expected = [sum(output[f] * shopper[f] * offered[i, f] for f in range(3)) for i in range(5)]
    found = scorer.score(asked([[2, 0, 1, 0, 0]]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)

    tower = GmfTower(5, 3)
    tower.build(None)
    for weight, value in zip(tower.weights, (met, offered, output), strict=True):
        weight.assign(value)
    events = (np.array([A, C], np.int32), np.array([2, 1], np.float32), np.zeros(2, np.int32))
    pairs = (np.zeros(5, np.int32), np.arange(5, dtype=np.int32), np.zeros(5, np.float32))
    np.testing.assert_allclose(tower((*events, np.array(1), *pairs)), expected, rtol=1e-4)
    # The candidate's own event is left out of the shopper.
    own = (np.zeros(1, np.int32), np.array([A], np.int32), np.array([2], np.float32))
    alone = sum(output * met[C] * offered[A])
    np.testing.assert_allclose(tower((*events, np.array(1), *own)), [alone], rtol=1e-4)


def test_gmf_learns_two_circles_of_shoppers() -> None:
    rows = np.zeros([24, 8])
    for shopper, item in itertools.product(range(24), range(8)):
        # Each shopper of either circle met three of its four items.
        rows[shopper, item] = shopper % 2 == item // 4 and item % 4 != shopper // 2 % 4
    scorer = Gmf(CollaborativeOptions(factors=4, epochs=60, negatives=3))
    scorer.fit(sp.csr_matrix(rows))
    one = sp.csr_matrix(np.array([[1.0, 1, 0, 0, 0, 0, 0, 0]]))
    scores = scorer.score(Asked(one, np.array([-1]), np.zeros(8, int), np.arange(8)))
    assert scores[2:4].min() > scores[4:].max()


@pytest.mark.parametrize("name", SCORERS)
def test_state_is_plain_arrays_and_gives_the_same_scores(name: str, matrix: sp.csr_matrix) -> None:
    if name in ("als", "content"):
        pytest.importorskip("implicit")
    scorer: Scorer = SCORERS[name](OPTIONS)
    if isinstance(scorer, ContentFactors):
        scorer._content = np.eye(matrix.shape[1])
    scorer.fit(matrix)
    arrays = scorer.arrays()
    assert all(a.dtype != object for a in arrays.values())
    other = SCORERS[name](OPTIONS)
    other.restore(arrays)
    question = asked([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], [1, -1])
    first = scorer.score(question)
    np.testing.assert_allclose(other.score(question), first, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(first[5:], 0)  # of a shopper without events nothing is known
    assert np.isfinite(first).all()


def test_strongest_keeps_the_largest_of_each_row() -> None:
    matrix = sp.csr_matrix(np.array([[3.0, 1, 2, 0], [0, 0, 5, 0], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(
        strongest(matrix, 2).toarray(), [[3, 0, 2, 0], [0, 0, 5, 0], [0, 0, 0, 0]]
    )


def test_unknown_scorers_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'itemknn'"):
        make_scorers(["itemkn"], OPTIONS)
    with pytest.raises(ConfigError, match="at least one"):
        make_scorers([], OPTIONS)
