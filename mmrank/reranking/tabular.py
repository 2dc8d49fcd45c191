"""Q-learning in a table, for one short page: the reference for policies that generalise."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.reranking.moves import FINISH, moved, open_actions
from mmrank.reranking.page import Page, all_orders
from mmrank.reranking.users import Rewards, UserModel

__all__ = ["QTable", "learn_table", "solve_table"]

State = tuple[int, tuple[int, ...]]  # moves left, and the order


@dataclasses.dataclass(frozen=True)
class QTable:
    """Values of the actions in each state of one page.

    Attributes:
      values: Per state, which is the moves left and the order: the value of each action, [k].
      most_moves: Moves of an episode.
    """

    values: dict[State, np.ndarray]
    most_moves: int

    def order(self) -> np.ndarray:
        """Returns the order at which the best actions end, [k] int."""
        state = np.arange(len(next(iter(self.values))[1]))
        for left in range(self.most_moves, 0, -1):
            action = int(np.argmax(self.values[left, tuple(state.tolist())]))
            if action == FINISH:
                break
            state = moved(state, action)
        return state


def solve_table(page: Page, user: UserModel, rewards: Rewards, most_moves: int) -> QTable:
    """Returns the optimal values of all states by dynamic programming.

    V(order, 0) = worth of the order, and Q(order, n, action) = worth for `FINISH`, else
    V(the order after the move, n − 1).

    Args:
      page: One page of at most `MOST_TRIED` candidates; 4 are solved in milliseconds.
      user: The user model.
      rewards: What clicks, seconds and purchases are worth.
      most_moves: Moves of an episode.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, draw_page
      >>> page, user = draw_page(3, np.random.default_rng(1)), USERS.make("position_based")
      >>> sorted(solve_table(page, user, Rewards(), most_moves=3).order().tolist())
      [0, 1, 2]
    """
    worth = _worth(page, user, rewards)
    best, values = dict(worth), {}
    for left in range(1, most_moves + 1):
        q = {
            order: np.array([worth[order], *(best[_after(order, a)] for a in range(1, page.size))])
            for order in worth
        }
        values.update({(left, order): each for order, each in q.items()})
        best = {order: float(each.max()) for order, each in q.items()}
    return QTable(values, most_moves)


def learn_table(
    page: Page,
    user: UserModel,
    rewards: Rewards,
    most_moves: int,
    *,
    episodes: int,
    seed: int,
    epsilon: float = 0.3,
    sampled: bool = False,
) -> QTable:
    """Returns the values that Q-learning finds by trying moves.

    The rate of an update is 1 / (number of updates of this action in this state)^0.7.

    Source: Watkins and Dayan, "Q-learning" (Machine Learning 8, 1992).

    Args:
      page, user, rewards, most_moves: As for `solve_table`.
      episodes: Number of episodes.
      seed: Seed of all random choices.
      epsilon: Probability of a random action.
      sampled: Whether an episode's reward is that of one drawn session.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, draw_page
      >>> page, user = draw_page(2, np.random.default_rng(1)), USERS.make("position_based")
      >>> learned = learn_table(page, user, Rewards(), 1, episodes=50, seed=1)
      >>> bool((learned.order() == solve_table(page, user, Rewards(), 1).order()).all())
      True
    """
    rng = np.random.default_rng(seed)
    worth = _worth(page, user, rewards)
    shape = page.size
    states = [(left, order) for left in range(1, most_moves + 1) for order in worth]
    values = {state: np.zeros(shape) for state in states}
    counts = {state: np.zeros(shape) for state in states}
    actions = np.flatnonzero(open_actions(shape, shape))
    for _ in range(episodes):
        order, left, ended = tuple(range(shape)), most_moves, False
        while not ended:
            state = (left, order)
            explores = rng.random() < epsilon
            action = int(rng.choice(actions) if explores else np.argmax(values[state]))
            order, left = _after(order, action), left - 1
            ended = action == FINISH or left == 0
            if not ended:
                target = float(values[left, order].max())
            elif sampled:
                target = rewards.of(user.session(page.real.take(np.array(order)), rng))
            else:
                target = worth[order]
            counts[state][action] += 1
            rate = counts[state][action] ** -0.7
            values[state][action] += rate * (target - values[state][action])
    return QTable(values, most_moves)


def _worth(page: Page, user: UserModel, rewards: Rewards) -> dict[tuple[int, ...], float]:
    orders = all_orders(page.size)
    expected = user.expected(page.real.take(orders), rewards)
    return {tuple(o): float(e) for o, e in zip(orders.tolist(), expected, strict=True)}


def _after(order: tuple[int, ...], action: int) -> tuple[int, ...]:
    return tuple(moved(np.array(order), action).tolist())
