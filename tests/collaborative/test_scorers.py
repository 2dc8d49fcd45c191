from __future__ import annotations

import itertools
from math import log, sqrt

import numpy as np
import pytest
import scipy.sparse as sp

from mmrank.collaborative import base, itemknn, userknn
from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.collaborative.base import Asked, Scorer, picked, strongest
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


def asked(history: list[list[float]], users: list[int] | None = None) -> Asked:
    """The question that asks for the score of every item for every history."""
    rows = sp.csr_matrix(np.array(history, float))
    lists, items = np.divmod(np.arange(rows.shape[0] * 5), 5)
    return Asked(rows, np.array(users or [-1] * rows.shape[0]), lists, items)


def test_item_neighbours_by_hand(matrix: sp.csr_matrix) -> None:
    scorer = ItemNeighbours(OPTIONS)
    scorer.fit(matrix)
    # Users by column: a {u, v}, b {u, v, w}, c {u, w}, d {x}. Similarities shrink by n / (n + 2).
    ab = 2 / sqrt(2 * 3) * 2 / 4
    ac = 1 / 2 * 1 / 3
    bc = 2 / sqrt(3 * 2) * 2 / 4
    scores = scorer.score(asked([[1, 0, 0, 0, 0], [2, 0, 1, 0, 0]])).reshape(2, 5)
    np.testing.assert_allclose(scores[0], [0, ab, ac, 0, 0], atol=1e-6)
    np.testing.assert_allclose(scores[1], [ac, 2 * ab + bc, 2 * ac, 0, 0], atol=1e-6)


@pytest.fixture
def blocks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets blocks of two, so that five items or lists of a test fill two and a half blocks."""
    for module in (base, itemknn, userknn):
        monkeypatch.setattr(module, "BLOCK", 2)


@pytest.mark.usefixtures("blocks_of_two")
def test_picked_entries_equal_the_product_for_any_block() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random([5, 3]), rng.random([3, 5])
    lists, items = rng.permutation(np.argwhere(rng.random([5, 5]) < 0.7)).T
    given = Asked(sp.csr_matrix(left), np.full(5, -1), lists, items)
    found = picked(sp.csr_matrix(left), sp.csr_matrix(right), given)
    expected = [
        sum(left[n, f] * right[f, i] for f in range(3)) for n, i in zip(lists, items, strict=True)
    ]
    np.testing.assert_allclose(found, expected)


@pytest.mark.usefixtures("blocks_of_two")
def test_no_item_is_its_own_neighbour_for_any_block(matrix: sp.csr_matrix) -> None:
    scorer = ItemNeighbours(CollaborativeOptions(shrinkage=0.0))
    scorer.fit(matrix)
    met = matrix.toarray()
    expected = np.zeros([5, 5])
    for i, j in itertools.permutations(range(5), 2):
        norms = sqrt(met[:, i].sum() * met[:, j].sum())
        expected[i, j] = met[:, i] @ met[:, j] / norms if norms else 0.0
    np.testing.assert_allclose(scorer.score(asked(np.eye(5).tolist())), expected.ravel(), atol=1e-6)


def test_only_the_nearest_neighbours_count(matrix: sp.csr_matrix) -> None:
    scorer = ItemNeighbours(CollaborativeOptions(neighbours=1, shrinkage=2.0))
    scorer.fit(matrix)
    scores = scorer.score(asked([[1, 0, 0, 0, 0]]))
    np.testing.assert_array_equal(scores > 0, [False, True, False, False, False])


@pytest.mark.parametrize("block", [512, 2])
def test_user_neighbours_equal_plain_loops(
    matrix: sp.csr_matrix, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists are of new users and of known ones, who are their own nearest neighbours."""
    for module in (base, userknn):
        monkeypatch.setattr(module, "BLOCK", block)
    scorer = UserNeighbours(CollaborativeOptions(neighbours=2))
    scorer.fit(matrix)
    met = matrix.toarray()
    rarity = [log(1 + 4 / max(sum(met[:, i]), 1)) for i in range(5)]
    both, first = [1, 0, 0, 1, 0], [1, 1, 0, 0, 0]
    histories = [both, both, first, [0, 0, 0, 2, 0], [0, 1, 1, 0, 0]]
    users = [-1, 0, 1, 3, 2]

    def cosine(left: list[float], right: list[float]) -> float:
        def dot(x: list[float], y: list[float]) -> float:
            return sum(p * q * r * r for p, q, r in zip(x, y, rarity, strict=True))

        return dot(left, right) / sqrt(dot(left, left) * dot(right, right))

    found = scorer.score(asked(histories, users)).reshape(5, 5)
    for history, self_number, scores in zip(histories, users, found, strict=True):
        likes = {n: cosine(history, list(met[n])) for n in range(4) if n != self_number}
        nearest = sorted(likes, key=lambda n: -likes[n])[:2]
        expected = [sum(likes[n] * met[n, i] for n in nearest) for i in range(5)]
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_shifted_positive_pmi_by_its_formula(matrix: sp.csr_matrix) -> None:
    together = {(A, B): 2, (A, C): 1, (B, C): 2}
    together |= {(j, i): n for (i, j), n in together.items()}
    margin = [3.0, 4.0, 3.0, 0.0, 0.0]  # a: 2 + 1, b: 2 + 2, c: 1 + 2
    smooth = [m**0.75 for m in margin]
    total = sum(margin)
    expected = np.zeros([5, 5])
    for (i, j), n in together.items():
        probability = margin[i] * smooth[j] / sum(smooth)
        expected[i, j] = max(log(n / probability) * n / (n + 0.5) - log(1.2), 0.0)
    assert (expected > 0).any()
    assert expected[A, C] == 0  # too few co-occurrences for a positive value
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


def test_als_folds_a_user_in_by_equation_4(matrix: sp.csr_matrix) -> None:
    pytest.importorskip("implicit")
    options = CollaborativeOptions(factors=3, confidence=4.0, regularization=0.5)
    scorer = AlternatingLeastSquares(options)
    scorer.fit(matrix)
    items = scorer.arrays()["factors"].astype(float)
    assert np.abs(items).max() > 0
    history = np.array([2.0, 0, 1, 0, 0])
    confidence = np.diag(1 + 4.0 * history)
    left = items.T @ confidence @ items + 0.5 * np.eye(3)
    user = np.linalg.solve(left, items.T @ confidence @ (history > 0))
    np.testing.assert_allclose(scorer.score(asked([list(history)])), items @ user, rtol=1e-5)


@pytest.mark.parametrize("regularization", [0.05, 5.0])
def test_als_minimises_equation_3(regularization: float) -> None:
    """Σ c (p − x·y)² + λ (Σ |x|² + Σ |y|²) is as low as after alternation in plain NumPy."""
    pytest.importorskip("implicit")
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 4, (12, 9)) * (rng.random((12, 9)) < 0.4)
    share, width = 0.5, 2
    confidence, met = 1 + share * weights, (weights > 0).astype(float)

    def solved(factors: np.ndarray, sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The factors of the other side, row by row, by equations 4 and 5."""
        ridge = regularization * np.eye(width)
        return np.array(
            [
                np.linalg.solve(factors.T * c @ factors + ridge, factors.T @ (c * p))
                for c, p in zip(*sides, strict=True)
            ]
        )

    def cost(items: np.ndarray) -> float:
        users = solved(items, (confidence, met))
        squares = confidence * (met - users @ items.T) ** 2
        return squares.sum() + regularization * ((users**2).sum() + (items**2).sum())

    starts = rng.normal(size=(5, 9, width))
    for n, _ in itertools.product(range(5), range(200)):
        starts[n] = solved(solved(starts[n], (confidence, met)), (confidence.T, met.T))
    best = min(cost(items) for items in starts)
    options = CollaborativeOptions(factors=width, confidence=share, regularization=regularization)
    scorer = AlternatingLeastSquares(options)
    scorer.fit(sp.csr_matrix(weights.astype(float)))
    # The package stops after fifteen rounds.
    assert cost(scorer.arrays()["factors"].astype(float)) == pytest.approx(best, rel=0.01)


def test_gmf_scores_equal_plain_numpy_and_the_tower(matrix: sp.csr_matrix) -> None:
    from mmrank.collaborative.gmf_tower import GmfTower

    generator = np.random.default_rng(3)
    met, offered = generator.normal(size=(2, 5, 3))
    output = generator.normal(size=3)
    scorer = Gmf(OPTIONS)
    scorer.restore({"met": met, "offered": offered, "output": output})
    user = (2 * met[A] + 1 * met[C]) / sqrt(2**2 + 1**2)
    expected = [sum(output[f] * user[f] * offered[i, f] for f in range(3)) for i in range(5)]
    found = scorer.score(asked([[2, 0, 1, 0, 0]]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)

    tower = GmfTower(5, 3)
    tower.build(None)
    for weight, value in zip(tower.weights, (met, offered, output), strict=True):
        weight.assign(value)
    events = (np.array([A, C], np.int32), np.array([2, 1], np.float32), np.zeros(2, np.int32))
    pairs = (np.zeros(5, np.int32), np.arange(5, dtype=np.int32), np.zeros(5, np.float32))
    np.testing.assert_allclose(tower((*events, np.array(1), *pairs)), expected, rtol=1e-4)
    # The user's factors leave out the event of the candidate itself.
    own = (np.zeros(1, np.int32), np.array([A], np.int32), np.array([2], np.float32))
    alone = sum(output * met[C] * offered[A])
    np.testing.assert_allclose(tower((*events, np.array(1), *own)), [alone], rtol=1e-4)


def test_gmf_learns_two_groups_of_users() -> None:
    rows = np.zeros([24, 8])
    for user, item in itertools.product(range(24), range(8)):
        # Each user of one of the two groups has events of three of its four items.
        rows[user, item] = user % 2 == item // 4 and item % 4 != user // 2 % 4
    scorer = Gmf(CollaborativeOptions(factors=4, epochs=60, negatives=3))
    scorer.fit(sp.csr_matrix(rows))
    one = sp.csr_matrix(np.array([[1.0, 1, 0, 0, 0, 0, 0, 0]]))
    scores = scorer.score(Asked(one, np.array([-1]), np.zeros(8, int), np.arange(8)))
    assert scores[2:4].min() > scores[4:].max()


@pytest.mark.parametrize("name", SCORERS)
def test_state_is_plain_arrays_and_gives_the_same_scores(name: str, matrix: sp.csr_matrix) -> None:
    if name in ("als", "content"):
        pytest.importorskip("implicit")
    scorer: Scorer = SCORERS.make(name, OPTIONS)
    if isinstance(scorer, ContentFactors):
        scorer._content = np.eye(matrix.shape[1])
    scorer.fit(matrix)
    arrays = scorer.arrays()
    assert all(a.dtype != object for a in arrays.values())
    other = SCORERS.make(name, OPTIONS)
    other.restore(arrays)
    question = asked([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], [1, -1])
    first = scorer.score(question)
    np.testing.assert_allclose(other.score(question), first, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(first[5:], 0)  # nothing is known about a user without events
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
