"""`mmrank/Rerank-v0`: an episode rearranges one page by moves, and then a user reads it.

import gymnasium
env = gymnasium.make("mmrank.reranking.environment:mmrank/Rerank-v0", user="saturation")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from mmrank.outputs import MissingExtra, install_command
from mmrank.reranking.drawn import draw_page
from mmrank.reranking.guards import Guards
from mmrank.reranking.moves import FINISH, moved, open_actions
from mmrank.reranking.observing import FEATURES, Observation, observed
from mmrank.reranking.page import Page
from mmrank.reranking.users import USERS, Rewards, UserModel

try:
    import gymnasium
    from gymnasium import spaces
except ModuleNotFoundError as error:
    what = "the environment of pages needs gymnasium"
    raise MissingExtra(f"{what}: {install_command('reranking')}") from error

__all__ = ["FEATURES", "NAME", "Observation", "RerankEnv"]

NAME = "mmrank/Rerank-v0"
Pages = Callable[[np.random.Generator], Page]
When = Literal["end", "difference"]


class RerankEnv(gymnasium.Env[Observation, np.int64]):
    """An environment in which a policy rearranges pages for users of a model.

    An observation has `candidates` [k, features] in the order shown (`FEATURES`, then the vector;
    the logarithm of the price is less its mean over the page), the `mask` [k] of those that are not
    padding, the `actions` [k] that are open, and `moves`, the share of the moves that are left.
    A larger `size` only pads them, so that one policy serves pages of any length.
    The first page is the ranker's, without what the rules exclude and with what they pin and boost.
    Actions are those of `mmrank.reranking.moves`. A move that is not open changes nothing, uses up
    a move, and is reported as `info["illegal"]`.

    An episode ends with `FINISH` or when no move is left. The reward is the worth of a session on
    the final page: at the end, or by each move's difference. Differences add up to what the final
    page is worth more than the first one.

    Args:
      pages: Draws the page of an episode from a random generator; by default `draw_page` with
        `size` candidates.
      user: Name of a user model, or one.
      options: Options of a named user model.
      size: Most candidates on a page, k; shorter pages are padded.
      most_moves: Moves of an episode; None for as many as any order of the page's k candidates may
        need, k (k − 1) / 2.
      rewards: What clicks, seconds and purchases are worth.
      when: `end` or `difference`.
      sampled: Whether the reward at the end is that of one drawn session, not the expected one.
      guards: What may not be done to a page; by default nothing is forbidden.

    Raises:
      ValueError: A drawn page has more candidates than `size`, or `sampled` is combined with
        `difference`, whose differences would be those of different sessions.
      ConfigError: The user model or one of its options is unknown.

    Example:
      >>> env = RerankEnv(size=3)
      >>> observation, _ = env.reset(seed=1)
      >>> observation["candidates"].shape, env.action_space.n.item()
      ((3, 11), 3)
      >>> _, _, ended, _, _ = env.step(FINISH)
      >>> ended
      True
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # gymnasium's own declaration

    def __init__(
        self,
        pages: Pages | None = None,
        user: str | UserModel = "position_based",
        options: Mapping[str, Any] | None = None,
        *,
        size: int = 6,
        most_moves: int | None = 12,
        rewards: Rewards | None = None,
        when: When = "end",
        sampled: bool = False,
        guards: Guards | None = None,
    ):
        if sampled and when == "difference":
            raise ValueError("sampled: differences need expected rewards; set when to 'end'")
        self.user = USERS.make(user, options) if isinstance(user, str) else user
        self.rewards, self.guards = rewards or Rewards(), guards or Guards()
        self._draw = pages or (lambda rng: draw_page(size, rng))
        self._size, self._most, self._when, self._sampled = size, most_moves, when, sampled
        width = len(FEATURES) + self._draw(np.random.default_rng(0)).vector.shape[-1]
        # As Any: mypy holds the declared space of mappings for another type than spaces.Dict.
        self.observation_space: Any = spaces.Dict(
            {
                "candidates": spaces.Box(-np.inf, np.inf, (size, width), np.float32),
                "mask": spaces.MultiBinary(size),
                "actions": spaces.MultiBinary(size),
                "moves": spaces.Box(0, 1, (1,), np.float32),
            }
        )
        self.action_space = spaces.Discrete(size)

    def copy(self) -> RerankEnv:
        """Returns another environment with the same arguments, not yet reset."""
        return RerankEnv(
            self._draw,
            self.user,
            size=self._size,
            most_moves=self._most,
            rewards=self.rewards,
            when=self._when,
            sampled=self._sampled,
            guards=self.guards,
        )

    @property
    def page(self) -> Page:
        """The page as the ranker ordered it."""
        return self._page

    @property
    def order(self) -> np.ndarray:
        """Which candidate of the ranker's order is at each position, [k] int."""
        return self._order.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Returns the observation of a new page; `options={"page": page}` gives it a page."""
        super().reset(seed=seed)
        page = (options or {}).get("page")
        self._page = self.guards.kept(self._draw(self.np_random) if page is None else page)
        if self._page.size > self._size:
            raise ValueError(f"a page of {self._page.size} candidates; raise size ({self._size})")
        self._start = self.guards.start(self._page)
        pairs = self._page.size * (self._page.size - 1) // 2
        self._moves = self._left = max(pairs, 1) if self._most is None else self._most
        self._set(self._start)
        self._now = self._worth() if self._when == "difference" else 0.0
        return self._observed(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Returns observation, reward, whether the episode ended, False, and information."""
        illegal = not self._opened[int(action)]
        if not illegal and int(action) != FINISH:
            self._set(moved(self._order, int(action)))
        self._left -= 1
        ended = int(action) == FINISH or self._left <= 0
        reward = 0.0
        if self._when == "difference":
            before, self._now = self._now, self._worth()
            reward = self._now - before
        elif ended and self._sampled:
            session = self.user.session(self._page.real.take(self._order), self.np_random)
            reward = self.rewards.of(session)
        elif ended:
            reward = self._worth()
        return self._observed(), reward, ended, False, {**self._info(), "illegal": illegal}

    def _worth(self) -> float:
        return float(self.user.expected(self._page.real.take(self._order), self.rewards))

    def _set(self, order: np.ndarray) -> None:
        self._order, self._opened = order, open_actions(self._page.size, self._size)
        self._opened[: len(order)] &= self.guards.open(self._page, self._start, order)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._opened.astype(np.int8)}

    def _observed(self) -> Observation:
        shown, opened = self._page.take(self._order), self._opened
        return observed(shown, self._order, opened=opened, left=self._left, most_moves=self._moves)


gymnasium.register(NAME, entry_point=f"{__name__}:RerankEnv")
