"""Factors predicted from content: for new items, with less weight the more users an item has."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from mmrank.collaborative.base import Asked
from mmrank.collaborative.content import ContentFactors, topics, with_predicted
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.snapshots import AsOfScores


def test_a_linear_map_is_found_and_weighted_by_the_number_of_users() -> None:
    """1,000 items have factors (2 x, −x) for content x; three others have 0, 1 and 27 users."""
    rng = np.random.default_rng(0)
    content = rng.normal(size=[1003, 1])
    truth = content @ np.array([[2.0, -1.0]])
    met = np.array([*[50] * 1000, 0, 1, 27])
    factors = truth.copy()
    factors[1000:] = 7.0
    given = with_predicted(factors.astype(np.float32), met, content)
    own = np.array([0, 1 / 4, 27 / 30])[:, None]
    np.testing.assert_allclose(given[1000:], own * 7 + (1 - own) * truth[1000:], atol=0.05)
    np.testing.assert_allclose(given[:1000], truth[:1000], atol=0.05)


def test_items_without_events_do_not_take_part_in_the_map() -> None:
    """Their factors are 0, which says nothing about the map."""
    rng = np.random.default_rng(0)
    content = rng.normal(size=[400, 1])
    truth = content @ np.array([[2.0, -1.0]])
    met = np.repeat([50, 0], [100, 300])
    given = with_predicted((truth * (met > 0)[:, None]).astype(np.float32), met, content)
    np.testing.assert_allclose(given[100:], truth[100:], atol=0.05)


def test_with_few_known_items_factors_stay_as_they_are() -> None:
    factors = np.ones([6, 4], np.float32)
    given = with_predicted(factors, np.array([9, 9, 9, 9, 0, 0]), np.ones([6, 2]))
    np.testing.assert_array_equal(given, factors)


def test_topics_distinguish_items_by_their_words() -> None:
    bags = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1.0]]))
    found = topics(bags, 0)
    similar = found @ found.T
    assert similar[0, 1] > 0.9
    assert similar[2, 3] > 0.9
    assert abs(similar[0, 2]) < 1e-6


def planted() -> tuple[sp.csr_matrix, np.ndarray]:
    """Two tastes and two kinds of 30 items each; the last item of each kind has no events."""
    rng = np.random.default_rng(1)
    matrix = np.zeros([80, 60])
    for user in range(80):
        kind = user % 2
        matrix[user, kind * 30 + rng.choice(29, 12, replace=False)] = 1
    content = np.repeat([[1.0, 0.0], [0.0, 1.0]], 30, axis=0)
    return sp.csr_matrix(matrix), content


def test_an_item_without_events_is_scored_by_its_content() -> None:
    pytest.importorskip("implicit")
    matrix, content = planted()
    scorer = ContentFactors(CollaborativeOptions(factors=4, regularization=0.1))
    scorer._content = content
    scorer.fit(matrix)
    new = np.array([29, 59])  # one of each kind
    for user in (0, 1):
        asked = Asked(matrix[user : user + 1], np.array([-1]), np.zeros(2, int), new)
        mine, other = scorer.score(asked)[[user % 2, 1 - user % 2]]
        assert mine > 0.3
        assert abs(other) < 0.1
    again = ContentFactors(scorer.options)
    again.restore(scorer.arrays())
    np.testing.assert_array_equal(again.score(asked), scorer.score(asked))


def test_only_this_scorer_scores_new_items(shop) -> None:
    """Item e has no events. It is scored for user u, who has a history, but not without a user."""
    pytest.importorskip("implicit")
    dataset = shop()
    for names, there in ((("pmi",), False), (("pmi", "content"), True)):
        as_of = AsOfScores(dataset, CollaborativeOptions(scorers=names, factors=2))
        new = dataset.lists["item_id"] == "e"
        assert as_of.usable[new.to_numpy()].tolist() == [there, False]
