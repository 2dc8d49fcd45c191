"""What a policy would see on logged pages, many at once."""

from __future__ import annotations

import numpy as np

from mmrank.reranking.guards import GuardOptions, Guards
from mmrank.reranking.observing import Observation, observed
from mmrank.reranking.rearranged import rearranged, rows_of
from mmrank.reranking.sessions import Sessions

__all__ = ["LogObserver"]


class LogObserver:
    """Observations of logged pages, as `RerankEnv` gives them.

    Args:
      sessions: The log.
      most_moves: Moves of an episode; None for as many as any order of the page may need.
      guards: What may not be done to a page.

    Attributes:
      sessions: The log.
      moves: Moves of an episode on each page, [n] int.

    Example:
      >>> from mmrank.reranking import USERS, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 5, seed=1)
      >>> log = played_log(pages, PairSwap(), USERS.make("cascade"), seed=1)
      >>> observer, rows = LogObserver(log, most_moves=2), np.array([0, 4])
      >>> observer.seen(rows, log.order[rows], left=np.array([2, 1]))["moves"].tolist()
      [[1.0], [0.5]]
    """

    def __init__(self, sessions: Sessions, most_moves: int | None, guards: Guards | None = None):
        self.sessions, self._guards = sessions, guards or Guards()
        pairs = np.maximum(sessions.length * (sessions.length - 1) // 2, 1)
        self.moves = pairs if most_moves is None else np.full(len(sessions), most_moves)
        # Guards look at one page after the other.
        guarded = self._guards.options != GuardOptions()
        self._pages = list(sessions.each()) if guarded else None

    def opened(self, rows: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """Returns which actions are open, [m, k] bool.

        Args:
          rows: Which pages, [m] int.
          orders: Which candidate is at each position of each, [m, k] int.
        """
        length = np.maximum(self.sessions.length[rows], 1)
        opened = np.arange(orders.shape[1]) < length[:, np.newaxis]
        if self._pages is not None:
            for i, row in enumerate(rows.tolist()):
                page = self._pages[row]
                start, order = np.arange(page.size), orders[i, : page.size]
                opened[i, : page.size] &= self._guards.open(page, start, order)
        return opened

    def seen(self, rows: np.ndarray, orders: np.ndarray, left: np.ndarray) -> Observation:
        """Returns a batch of observations.

        Args:
          rows, orders: As for `opened`.
          left: Moves that are left, [m] int.
        """
        return observed(
            rearranged(rows_of(self.sessions.pages, rows), orders),
            orders,
            opened=self.opened(rows, orders),
            left=left,
            most_moves=self.moves[rows],
            length=self.sessions.length[rows],
        )
