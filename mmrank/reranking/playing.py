"""Pages rearranged by whatever chooses their moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmrank.reranking.environment import Observation, RerankEnv
from mmrank.reranking.page import Page

__all__ = ["played", "stacked"]


def stacked(observations: Sequence[Observation]) -> dict[str, np.ndarray]:
    """Returns observations as one batch."""
    return {name: np.stack([o[name] for o in observations]) for name in observations[0]}


def played(
    choose: Callable[[list[Observation]], np.ndarray], pages: Sequence[Page], env: RerankEnv
) -> list[np.ndarray]:
    """Returns the order of each page at the end of its episode, [k] int each.

    Args:
      choose: Returns an action for each of some observations, [B] int.
      pages: The pages.
      env: An environment like that of the training; its number of moves ends each page.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import RerankEnv, draw_page
      >>> page = draw_page(3, np.random.default_rng(1))
      >>> [order] = played(lambda seen: np.array([1]), [page], RerankEnv(size=3, most_moves=1))
      >>> order.tolist()
      [1, 0, 2]
    """
    envs = [env.copy() for _ in pages]
    seen = [each.reset(options={"page": page})[0] for each, page in zip(envs, pages, strict=True)]
    active = list(range(len(pages)))
    while active:
        going = []
        for i, action in zip(active, choose([seen[i] for i in active]), strict=True):
            seen[i], _, ended, _, _ = envs[i].step(int(action))
            if not ended:
                going.append(i)
        active = going
    return [each.order for each in envs]
