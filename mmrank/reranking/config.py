"""The configuration of a policy that rearranges pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from mmrank.ranges import Count, Range, Seed
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.guards import GuardOptions
from mmrank.reranking.users import Rewards

__all__ = ["DrawnPages", "RerankConfig"]


@dataclasses.dataclass(frozen=True)
class DrawnPages:
    """The pages; see `draw_page`.

    Attributes:
      size: Number of candidates.
      groups: Number of groups of similar candidates.
      noise: Standard deviation of the noise in the ranker's scores.
      test: Number of pages that the policy is compared on; it never learns from them.
    """

    size: Annotated[int, Range(2)] = 6
    groups: Count = 3
    noise: Annotated[float, Range(0)] = 0.3
    test: Annotated[int, Range(2)] = 1000


@dataclasses.dataclass(frozen=True)
class RerankConfig:
    """The whole configuration.

    Attributes:
      seed: Seed of pages, weights and moves.
      user: Name of the user model.
      options: Options of the user model.
      pages: See `DrawnPages`.
      most_moves: Most moves on a page. Any order of k candidates is k (k − 1) / 2 moves away.
      rewards: What clicks, seconds and purchases are worth.
      guards: What the policy may not do to a page.
      dqn: How the policy is learned.
    """

    seed: Seed = 0
    user: str = "saturation"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pages: DrawnPages = DrawnPages()
    most_moves: Count = 15
    rewards: Rewards = Rewards()
    guards: GuardOptions = GuardOptions()
    dqn: DQNOptions = DQNOptions()
