"""What a trained network does with pages."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from mmrank.reranking.dqn.network import QNetwork
from mmrank.reranking.environment import Observation, RerankEnv
from mmrank.reranking.moves import FINISH
from mmrank.reranking.page import Page
from mmrank.tracing import traced

__all__ = ["Policy", "stacked"]


def stacked(observations: Sequence[Observation]) -> dict[str, np.ndarray]:
    """Returns observations as one batch."""
    return {name: np.stack([o[name] for o in observations]) for name in observations[0]}


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
        self._values = traced(lambda inputs: network(inputs))

    def values(self, observations: Sequence[Observation]) -> np.ndarray:
        """Returns the values of the actions, [B, k]."""
        return np.asarray(self._values(stacked(observations)))

    def orders(self, pages: Sequence[Page], env: RerankEnv) -> list[np.ndarray]:
        """Returns the order of each page when no move is better than to finish, [k] int each.

        Args:
          pages: The pages.
          env: An environment like that of the training; its number of moves ends each page.
        """
        envs = [env.copy() for _ in pages]
        seen = [
            each.reset(options={"page": page})[0] for each, page in zip(envs, pages, strict=True)
        ]
        active = list(range(len(pages)))
        while active:
            actions = self.values([seen[i] for i in active]).argmax(-1)
            going = []
            for i, action in zip(active, actions, strict=True):
                seen[i], _, ended, _, _ = envs[i].step(int(action))
                if not ended and action != FINISH:
                    going.append(i)
            active = going
        return [each.order for each in envs]

    def save(self, file: pathlib.Path) -> None:
        """Writes the weights; `load` reads them into a network of the same size."""
        self.network.save_weights(str(file))

    def load(self, file: pathlib.Path) -> None:
        """Reads weights that `save` wrote."""
        self.network.load_weights(str(file)).expect_partial()
