"""Interleaving, against enumeration: what pages are drawn, and whom the clicks favour."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.reranking.interleaving import INTERLEAVINGS, NO_TEAM, Interleaved, Interleaving
from mmrank.reranking.page import all_orders

RNG = np.random.default_rng(5)
PAIRS = [(RNG.permutation(4), RNG.permutation(4)) for _ in range(4)]
PAIRS += [(np.arange(4), np.arange(4)), (np.arange(4), np.array([0, 1, 3, 2]))]
KINDS = sorted(INTERLEAVINGS)


def drafts(a: np.ndarray, b: np.ndarray) -> list[tuple[float, tuple[int, ...], tuple[int, ...]]]:
    """Probability, order and teams of each sequence of coins of a team draft, as in the paper."""
    found = []
    rounds = (len(a) + 1) // 2
    for coins in itertools.product((0, 1), repeat=rounds):
        order: list[int] = []
        teams: list[int] = []
        for first in coins:
            for team in (first, 1 - first):
                left = [c for c in (a, b)[team].tolist() if c not in order]
                if left:
                    order.append(left[0])
                    teams.append(team)
        found.append((0.5**rounds, tuple(order), tuple(teams)))
    return found


def softmax_draws(
    a: np.ndarray, b: np.ndarray, order: np.ndarray, decay: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Probability of the order with each assignment of its positions."""
    ranks = [{c: rank for rank, c in enumerate(o.tolist(), 1)} for o in (a, b)]
    found = []
    for teams in itertools.product((0, 1), repeat=len(a)):
        probability, left = 1.0, set(a.tolist())
        for candidate, team in zip(order.tolist(), teams, strict=True):
            weights = {c: 1 / ranks[team][c] ** decay for c in left}
            probability *= 0.5 * weights[candidate] / sum(weights.values())
            left.remove(candidate)
        found.append((probability, teams))
    return found


def method(kind: str) -> Interleaving:
    made: Interleaving = INTERLEAVINGS.make(kind)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_page_has_each_candidate_once_and_seeds_reproduce_it(
    kind: str, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    for seed in range(10):
        shown = method(kind).interleave(*pair, np.random.default_rng(seed))
        again = method(kind).interleave(*pair, np.random.default_rng(seed))
        assert sorted(shown.order.tolist()) == [0, 1, 2, 3]
        assert set(shown.teams.tolist()) <= {NO_TEAM, 0, 1}
        assert shown.order.tolist() == again.order.tolist()
        assert shown.teams.tolist() == again.teams.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_probabilities_of_all_pages_sum_to_one(
    kind: str, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    of_page = [method(kind).conditional(*pair, order).prod() for order in all_orders(4)]
    assert sum(of_page) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_team_draft_draws_what_the_paper_draws(pair: tuple[np.ndarray, np.ndarray]) -> None:
    same = np.cumprod(pair[0] == pair[1]).astype(bool)
    expected: Counter[tuple[int, ...]] = Counter()
    pages = set()
    for probability, order, teams in drafts(*pair):
        expected[order] += probability  # type: ignore[assignment]
        pages.add((order, tuple(np.where(same, NO_TEAM, teams).tolist())))
    for order in all_orders(4):
        found = method("team_draft").conditional(*pair, order).prod()
        assert found == pytest.approx(expected[tuple(order.tolist())], abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = {
        (tuple(shown.order.tolist()), tuple(shown.teams.tolist()))
        for shown in (method("team_draft").interleave(*pair, rng) for _ in range(200))
    }
    assert drawn == pages


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("pair", PAIRS[:3], ids=str)
def test_probabilistic_pages_and_credit_are_those_of_all_assignments(
    pair: tuple[np.ndarray, np.ndarray], decay: float
) -> None:
    made = INTERLEAVINGS.make("probabilistic", {"decay": decay})
    for order in all_orders(4)[::5]:
        draws = softmax_draws(*pair, order, decay)
        total = sum(probability for probability, _ in draws)
        assert made.conditional(*pair, order).prod() == pytest.approx(total, rel=1e-9)
        for clicked in itertools.product((False, True), repeat=4):
            clicks = np.array(clicked)
            expected = 0.0
            for probability, teams in draws:
                sides = np.array(teams)[clicks]
                expected += probability * np.sign((sides == 0).sum() - (sides == 1).sum())
            shown = Interleaved(order, np.zeros(4, int))
            assert made.credit(*pair, shown, clicks) == pytest.approx(expected / total, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_pages_have_their_probabilities(kind: str) -> None:
    a, b = np.array([0, 1, 2]), np.array([2, 0, 1])
    rng, draws = np.random.default_rng(3), 4_000
    drawn = Counter(tuple(method(kind).interleave(a, b, rng).order.tolist()) for _ in range(draws))
    for order in all_orders(3):
        p = method(kind).conditional(a, b, order).prod()
        error = 4 * np.sqrt(p * (1 - p) / draws)
        assert abs(drawn[tuple(order.tolist())] / draws - p) <= error


@pytest.mark.parametrize("kind", KINDS)
def test_equal_orders_earn_the_same_whatever_is_clicked(kind: str) -> None:
    order, rng = np.array([2, 0, 1]), np.random.default_rng(0)
    for _ in range(20):
        shown = method(kind).interleave(order, order, rng)
        for clicked in itertools.product((False, True), repeat=3):
            credit = method(kind).credit(order, order, shown, np.array(clicked))
            assert credit == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("top", range(3))
def test_the_order_that_has_the_only_clicked_candidate_higher_does_not_lose(top: int) -> None:
    a = np.array([0, 1, 2])
    for b in all_orders(3):
        expected = 0.0
        for probability, shown in team_drafts(a, b):
            clicks = shown.order == top
            credit = method("team_draft").credit(a, b, shown, clicks)
            assert method("team_draft").credit(b, a, _swapped(shown), clicks) == -credit
            expected += probability * credit
        ranks = [int(np.flatnonzero(order == top)[0]) for order in (a, b)]
        assert expected == 0 or np.sign(expected) == np.sign(ranks[1] - ranks[0])


@pytest.mark.parametrize("clicked", [*itertools.product((False, True), repeat=3)])
def test_clicks_on_positions_whatever_is_there_favour_no_order(clicked: tuple[bool, ...]) -> None:
    a, clicks, made = np.array([0, 1, 2]), np.array(clicked), method("probabilistic")
    for b in all_orders(3):
        drafted = sum(
            p * method("team_draft").credit(a, b, shown, clicks) for p, shown in team_drafts(a, b)
        )
        assert drafted == pytest.approx(0, abs=1e-12)
        drawn = sum(
            made.conditional(a, b, order).prod()
            * made.credit(a, b, Interleaved(order, np.zeros(3, int)), clicks)
            for order in all_orders(3)
        )
        assert drawn == pytest.approx(0, abs=1e-12)


def team_drafts(a: np.ndarray, b: np.ndarray) -> list[tuple[float, Interleaved]]:
    same = np.cumprod(a == b).astype(bool)
    return [
        (probability, Interleaved(np.array(order), np.where(same, NO_TEAM, teams)))
        for probability, order, teams in drafts(a, b)
    ]


def _swapped(shown: Interleaved) -> Interleaved:
    teams = np.where(shown.teams == NO_TEAM, NO_TEAM, 1 - shown.teams)
    return Interleaved(shown.order, teams)


def test_probabilistic_credit_changes_sign_with_the_orders() -> None:
    made = method("probabilistic")
    for a, b in PAIRS:
        shown = made.interleave(a, b, np.random.default_rng(1))
        for clicked in itertools.product((False, True), repeat=4):
            clicks = np.array(clicked)
            forth, back = made.credit(a, b, shown, clicks), made.credit(b, a, shown, clicks)
            assert forth == pytest.approx(-back, abs=1e-12)
            assert -1 <= forth <= 1


def test_softmax_of_the_paper() -> None:
    """With decay 3 and four candidates: about 0.85, 0.11, 0.03 and 0.01."""
    a = np.arange(4)
    first = [method("probabilistic").conditional(a, a, np.roll(a, -r))[0] for r in range(4)]
    total = 1 + 1 / 8 + 1 / 27 + 1 / 64
    assert first == pytest.approx([1 / total, 1 / 8 / total, 1 / 27 / total, 1 / 64 / total])


def test_one_candidate() -> None:
    one = np.zeros(1, int)
    for kind in KINDS:
        shown = method(kind).interleave(one, one, np.random.default_rng(0))
        assert shown.order.tolist() == [0]
        assert method(kind).credit(one, one, shown, np.array([True])) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_input(kind: str) -> None:
    rng, good = np.random.default_rng(0), np.arange(3)
    for bad in (np.array([0, 0, 1]), np.array([1, 2, 3]), np.arange(2), np.arange(6).reshape(2, 3)):
        with pytest.raises(ValueError, match="an order must have each of 0 to 2 once"):
            method(kind).interleave(good, bad, rng)
    with pytest.raises(ValueError, match="clicks: shape"):
        method(kind).credit(good, good, Interleaved(good, good), np.array([True]))
    with pytest.raises(ConfigError, match="decay"):
        INTERLEAVINGS.make("probabilistic", {"decay": -1.0})
