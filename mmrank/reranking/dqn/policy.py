"""What a trained network does with pages."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from mmrank.reranking.dqn.network import QNetwork
from mmrank.reranking.environment import Observation, RerankEnv
from mmrank.reranking.page import Page
from mmrank.reranking.playing import played, stacked
from mmrank.tracing import traced

__all__ = ["Policy"]


class Policy:
    """Orders of pages by the moves with the highest values.

    Args:
      network: The network.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import RerankEnv, draw_page
      >>> policy = Policy(QNetwork(width=8, heads=2, layers=1))
      >>> [order] = policy.orders([draw_page(3, np.random.default_rng(1))], RerankEnv(size=3))
      >>> sorted(order.tolist())
      [0, 1, 2]
    """

    def __init__(self, network: QNetwork):
        self.network = network
        # One trace for all numbers of pages, which fall as pages end.
        self._values = traced(lambda inputs: network(inputs), reduce_retracing=True)

    def values(self, observations: Sequence[Observation]) -> np.ndarray:
        """Returns the values of the actions, [B, k]."""
        return np.asarray(self._values(stacked(observations)))

    def orders(self, pages: Sequence[Page], env: RerankEnv) -> list[np.ndarray]:
        """Returns the order of each page when no move is better than to finish, [k] int each.

        Args:
          pages: The pages.
          env: As for `played`.
        """
        return played(lambda seen: self.values(seen).argmax(-1), pages, env)

    def save(self, file: pathlib.Path) -> None:
        """Writes the weights; `load` reads them into a network of the same size."""
        self.network.save_weights(str(file))

    def load(self, file: pathlib.Path) -> None:
        """Reads weights that `save` wrote."""
        self.network.load_weights(str(file)).expect_partial()
