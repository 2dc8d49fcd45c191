"""The moves that lead to logged pages, against the environment that makes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmrank.outputs import InputError
from mmrank.reranking import USERS, RerankEnv, Rewards, draw_page
from mmrank.reranking.exploration import Epsilon, PairSwap
from mmrank.reranking.guards import GuardOptions, Guards
from mmrank.reranking.moves import FINISH, moved
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.offline.transitions import moves_to, transitions_of
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.sessions import Sessions

REWARDS = Rewards(click=1.0, purchase=5.0)


def log_of(n: int, epsilon: float = 1.0, size: int = 4) -> Sessions:
    pages = draw_pages(lambda rng: draw_page(size, rng), n, seed=1)
    return played_log(pages, Epsilon(epsilon=epsilon), USERS.make("cascade"), seed=1)


def test_moves_lead_to_every_order_by_as_few_swaps_as_there_are_inversions() -> None:
    orders = np.array(list(itertools.permutations(range(4))))
    actions, needed = moves_to(orders, most=6)
    for order, made, count in zip(orders, actions, needed, strict=True):
        inversions = sum(a > b for a, b in itertools.combinations(order.tolist(), 2))
        assert count == inversions == (made != FINISH).sum()
        now = np.arange(4)
        for action in made:
            now = moved(now, int(action))
        assert now.tolist() == order.tolist()


@pytest.mark.parametrize("most_moves", [3, 6])
def test_transitions_are_those_of_the_environment(most_moves: int) -> None:
    log = log_of(60)
    moves = transitions_of(LogObserver(log, most_moves), REWARDS)
    batch = moves.batch(np.arange(len(moves)))
    _, needed = moves_to(log.order, 6)
    assert set(moves.row.tolist()) == set(np.flatnonzero(needed <= most_moves).tolist())
    earned = log.rewards(REWARDS)
    for row, page in enumerate(log.each()):
        env = RerankEnv(size=4, most_moves=most_moves)
        seen, _ = env.reset(seed=0, options={"page": page})
        own = np.flatnonzero(moves.row == row)
        own = own[np.argsort(-moves.left[own])]
        for step in own:
            for name, values in seen.items():
                np.testing.assert_allclose(batch[f"before/{name}"][step], values, rtol=1e-6)
            seen, _, ended, _, info = env.step(moves.action[step])
            assert not info["illegal"]
            assert ended == moves.ended[step] == (batch["discount"][step] == 0)
            np.testing.assert_allclose(batch["earned"][step], earned[row] * ended)
            for name, values in seen.items():
                np.testing.assert_allclose(batch[f"after/{name}"][step], values, rtol=1e-6)
        if len(own):
            assert env.order.tolist() == log.order[row].tolist()
            assert moves.ended[own].tolist() == [False] * (len(own) - 1) + [True]


def test_pages_that_guards_forbid_are_left_out() -> None:
    log = log_of(60)
    guards = Guards(GuardOptions(most_shift=1))
    moves = transitions_of(LogObserver(log, 6, guards), REWARDS)
    shift = np.abs(np.argsort(log.order, -1) - np.arange(4)).max(-1)
    assert set(moves.row.tolist()) == set(np.flatnonzero(shift <= 1).tolist())
    batch = moves.batch(np.arange(len(moves)))
    swapped = (moves.before != np.arange(4)).any(-1)
    assert not batch["before/actions"][swapped].all(-1).any()


def test_a_log_that_the_policy_cannot_show() -> None:
    pages = draw_pages(lambda rng: draw_page(3, rng), 5, seed=1)
    log = played_log(pages, PairSwap(epsilon=1.0), USERS.make("cascade"), seed=1)
    with pytest.raises(InputError, match="could show none of its pages; raise most_moves"):
        transitions_of(LogObserver(log, 1, Guards(GuardOptions(most_shift=0))), REWARDS)
