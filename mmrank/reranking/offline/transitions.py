"""The moves that lead to logged pages, as transitions that a policy learns from."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from mmrank.outputs import InputError
from mmrank.reranking.moves import FINISH
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.users import Rewards

__all__ = ["Transitions", "moves_to", "swapped", "transitions_of"]

logger = logging.getLogger(__name__)


def swapped(orders: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Returns each order after its own action, [n, k] int; see `mmrank.reranking.moves`.

    Example:
      >>> import numpy as np
      >>> swapped(np.array([[0, 1], [0, 1]]), np.array([0, 1])).tolist()
      [[0, 1], [1, 0]]
    """
    after, row = orders.copy(), np.flatnonzero(actions != FINISH)
    lower = actions[row]
    after[row, lower - 1], after[row, lower] = orders[row, lower], orders[row, lower - 1]
    return after


def moves_to(orders: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the moves that lead from the order 0, 1, 2, ... to each order.

    They are as few as possible. From the top down, each position gets its candidate by swaps with
    all that are in between.

    Args:
      orders: The orders, [n, k] int.
      most: Most moves that are listed.

    Returns:
      The actions [n, most] int, followed by `FINISH`, and the number of moves that each order needs
      [n] int, which may be above `most`.

    Example:
      >>> import numpy as np
      >>> actions, needed = moves_to(np.array([[0, 1, 2], [2, 0, 1]]), most=2)
      >>> actions.tolist(), needed.tolist()
      ([[0, 0], [2, 1]], [0, 2])
    """
    n, k = orders.shape
    upper, lower = np.triu_indices(k, 1)
    needed = (orders[:, upper] > orders[:, lower]).sum(-1)  # the inversions
    now, actions = np.tile(np.arange(k), (n, 1)), np.full((n, most), FINISH)
    for step in range(most):
        left = np.flatnonzero(step < needed)
        first = (now[left] != orders[left]).argmax(-1)
        wanted = orders[left, first]
        actions[left, step] = (now[left] == wanted[:, np.newaxis]).argmax(-1)
        now = swapped(now, actions[:, step])
    return actions, needed


@dataclasses.dataclass(frozen=True)
class Transitions:
    """Moves on logged pages; observations are made when a batch is asked for.

    Attributes:
      observer: What sees the pages.
      rewards: What each position of each page earned, [pages, k].
      row: The page of each move, [n] int.
      before: Its order before the move, [n, k] int.
      left: Moves left before it, [n] int.
      action: The action, [n] int.
      ended: Whether the episode ends with it, [n] bool.
    """

    observer: LogObserver
    rewards: np.ndarray
    row: np.ndarray
    before: np.ndarray
    left: np.ndarray
    action: np.ndarray
    ended: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def batch(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Returns some transitions by column, with the names of `Replay.draw`.

        `reward` is the sum of `earned` [m, k], what each position earned; both are 0 unless the
        episode ends.

        Args:
          chosen: Which transitions, [m] int.
        """
        row, action, ended = self.row[chosen], self.action[chosen], self.ended[chosen]
        before, left = self.before[chosen], self.left[chosen]
        earned = np.where(ended[:, np.newaxis], self.rewards[row], 0).astype(np.float32)
        seen = {
            "before": self.observer.seen(row, before, left),
            "after": self.observer.seen(row, swapped(before, action), left - 1),
        }
        return {
            "action": action,
            "reward": earned.sum(-1),
            "earned": earned,
            "discount": (~ended).astype(np.float32),
            **{f"{when}/{name}": v for when, each in seen.items() for name, v in each.items()},
        }


def transitions_of(observer: LogObserver, rewards: Rewards) -> Transitions:
    """Returns the moves from the ranker's order to each order shown, and then `FINISH`.

    An episode begins with the ranker's order, as it will when the policy is in use, also where the
    log's pages were those of an earlier policy: then its moves are among those learned from. The
    reward of the session comes at the end. Pages that the policy could not show are left out: those
    that need more moves than an episode has, or a move that the guards close.

    Args:
      observer: What sees the pages of the log.
      rewards: What clicks, seconds and purchases are worth.

    Raises:
      InputError: No page is left.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, Rewards, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 5, seed=1)
      >>> log = played_log(pages, PairSwap(epsilon=1.0), USERS.make("cascade"), seed=1)
      >>> moves = transitions_of(LogObserver(log, most_moves=2), Rewards())
      >>> moves.ended.tolist() == [False] * 5 + [True] * 5  # swaps, and then FINISH
      True
    """
    sessions = observer.sessions
    most = int(observer.moves.max())
    actions, needed = moves_to(sessions.order, most)
    parts, closed = [], np.zeros(len(sessions), bool)
    now = np.tile(np.arange(sessions.order.shape[1]), (len(sessions), 1))
    for step in range(most):
        # The move after the last swap is to finish, unless the moves are used up.
        row = np.flatnonzero((step <= needed) & (step < observer.moves))
        action = actions[row, step]
        closed[row] |= ~observer.opened(row, now[row])[np.arange(len(row)), action]
        left = observer.moves[row] - step
        parts.append((row, now[row], left, action, (action == FINISH) | (left == 1)))
        now = swapped(now, actions[:, step])
    row, before, left, action, ended = map(np.concatenate, zip(*parts, strict=True))
    kept = ~closed & (needed <= observer.moves)
    if not kept.any():
        raise InputError(
            "the log: the policy could show none of its pages; raise most_moves, or loosen guards"
        )
    if not kept.all():
        logger.info("%d of %d pages left out: needs more moves, or a closed one",
                    (~kept).sum(), len(kept))  # fmt: skip
    mine = kept[row]
    earned = sessions.rewards(rewards)
    return Transitions(
        observer, earned, row[mine], before[mine], left[mine], action[mine], ended[mine]
    )
