"""The orders in which a policy would show logged pages, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmrank.reranking.moves import FINISH
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.offline.transitions import swapped
from mmrank.tracing import traced

__all__ = ["orders_by"]

BATCH = 4096


def orders_by(network: Any, observer: LogObserver) -> np.ndarray:
    """Returns the order of each page when no move is better than to finish, [n, k] int.

    Args:
      network: Returns the values of the actions [B, k] from a batch of observations.
      observer: What sees the pages of the log.

    Example:
      >>> import tensorflow as tf
      >>> from mmrank.reranking import USERS, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.offline.observer import LogObserver
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 2, seed=1)
      >>> log = played_log(pages, PairSwap(), USERS.make("cascade"), seed=1)
      >>> swap = lambda seen: tf.tile([[0.0, 1.0, 0.0]], [tf.shape(seen["mask"])[0], 1])
      >>> orders_by(swap, LogObserver(log, most_moves=1)).tolist()
      [[1, 0, 2], [1, 0, 2]]
    """
    values = traced(lambda seen: network(seen))
    n, size = observer.sessions.order.shape
    orders = np.tile(np.arange(size), (n, 1))
    going = np.arange(n)
    for step in range(int(observer.moves.max())):
        going = going[observer.moves[going] > step]
        actions = [
            values(observer.seen(row, orders[row], observer.moves[row] - step)).numpy().argmax(-1)
            for row in np.split(going, range(BATCH, len(going), BATCH))
        ]
        action = np.concatenate(actions)
        going, action = going[action != FINISH], action[action != FINISH]
        orders[going] = swapped(orders[going], action)
    return orders
