"""Logs of simulated users, on which what a policy learns and predicts can be checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrank.reranking.exploration import Exploration, conditional_of
from mmrank.reranking.page import Page
from mmrank.reranking.rearranged import rearranged
from mmrank.reranking.sessions import Sessions
from mmrank.reranking.users import UserModel

__all__ = ["draw_pages", "play", "played_log"]


def draw_pages(draw: Callable[[np.random.Generator], Page], n: int, seed: int) -> Page:
    """Returns n drawn pages as one `Page` [n, k], without groups and item ids.

    Args:
      draw: Draws a page; all have the same number of candidates.
      n: Number of pages; 500,000 of six candidates take half a minute.
      seed: Seed of the pages.

    Example:
      >>> from mmrank.reranking import draw_page
      >>> draw_pages(lambda rng: draw_page(3, rng), 5, seed=1).score.shape
      (5, 3)
    """
    rng = np.random.default_rng(seed)
    return _stacked([draw(rng) for _ in range(n)])


def _stacked(pages: Sequence[Page]) -> Page:
    names = pages[0].arrays().keys() - {"group", "item"}
    values: dict[str, Any] = {name: np.stack([getattr(p, name) for p in pages]) for name in names}
    if pages[0].truth is not None:
        values["truth"] = _stacked([page.real for page in pages])
    return Page(**values)


def play(
    pages: Page, orders: np.ndarray, user: UserModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what users do on pages, by the position shown.

    Args:
      pages: Pages in the ranker's order, [n, k], not padded.
      orders: The orders shown, [n, k] int.
      user: The user model.
      rng: Random generator.

    Returns:
      Clicks [n, k] bool, seconds [n, k] and purchases [n, k] bool.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, draw_page
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 5, seed=1)
      >>> orders = np.tile(np.arange(3), [5, 1])
      >>> clicks, _, purchases = play(
      ...     pages, orders, USERS.make("cascade"), np.random.default_rng(1)
      ... )
      >>> bool((purchases <= clicks).all())
      True
    """
    did = user.session(rearranged(pages, orders).real, rng)
    return did.clicks, did.dwell, did.purchases


def played_log(pages: Page, exploration: Exploration, user: UserModel, seed: int) -> Sessions:
    """Returns the log of a ranker whose pages an exploration changes at random.

    Args:
      pages: Pages in the ranker's order, [n, k], not padded.
      exploration: One of `EXPLORATIONS`.
      user: The user model.
      seed: Seed of the exploration and of the users.

    Example:
      >>> from mmrank.reranking import USERS, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 50, seed=1)
      >>> log = played_log(pages, PairSwap(epsilon=0.5), USERS.make("cascade"), seed=1)
      >>> sorted(set(log.probability.tolist()))
      [0.25, 0.5]
    """
    rng = np.random.default_rng([seed, 1])  # independent of pages drawn from the same seed
    (n, k), opened = pages.score.shape, np.ones(pages.size, bool)
    base = np.tile(np.arange(k), (n, 1))
    order = np.stack([exploration.order(row, opened, rng) for row in base])

    @functools.cache
    def cumulative(shown: tuple[int, ...]) -> np.ndarray:
        return exploration.cumulative(base[0], opened, np.array(shown))

    down_to = np.stack([cumulative(tuple(row)) for row in order.tolist()])
    conditional = np.stack([conditional_of(row) for row in down_to])
    clicks, dwell, purchases = play(pages, order, user, rng)
    return Sessions(
        pages, np.full(n, k), base, order, down_to[:, -1], conditional, clicks, dwell, purchases
    )
