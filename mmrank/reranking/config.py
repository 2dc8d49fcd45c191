"""The configuration of a policy that rearranges pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from mmrank.config import ConfigError
from mmrank.ranges import Count, Range, Seed
from mmrank.reranking.columns import PageColumns
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.guards import GuardOptions, Rules
from mmrank.reranking.offline.options import OfflineOptions
from mmrank.reranking.users import Rewards

__all__ = ["CQL", "DQN", "RANKER", "SERVED_MOVES", "DrawnPages", "RerankConfig"]

DQN, CQL, RANKER = "dqn", "cql", "ranker"  # agents
SERVED_MOVES = 5  # each takes some 0.2 ms


@dataclasses.dataclass(frozen=True)
class DrawnPages:
    """The pages; see `draw_page`.

    Attributes:
      size: Number of candidates; of the longest pages if `shortest` is given.
      shortest: Number of candidates of the shortest pages, if lengths vary.
      groups: Number of groups of similar candidates.
      noise: Standard deviation of the noise in the ranker's scores.
      test: Number of pages that the policy is compared on; it never learns from them.
      lengths: Numbers of candidates, for each of which the policy is compared on as many further
        pages; they may be longer than those that it learned from.

    Raises:
      ConfigError: `shortest` is above `size`.
    """

    size: Annotated[int, Range(2)] = 6
    shortest: Annotated[int, Range(2)] | None = None
    groups: Count = 3
    noise: Annotated[float, Range(0)] = 0.3
    test: Annotated[int, Range(2)] = 1000
    lengths: tuple[Annotated[int, Range(2)], ...] = ()

    def __post_init__(self) -> None:
        if self.shortest is not None and self.shortest > self.size:
            raise ConfigError(
                f"pages.shortest: {self.shortest} is above pages.size ({self.size}); lower it"
            )


@dataclasses.dataclass(frozen=True)
class RerankConfig:
    """The whole configuration.

    Attributes:
      seed: Seed of pages, weights and moves.
      user: Name of the user model.
      options: Options of the user model.
      agent: `dqn` learns by making moves on pages of the user model, `cql` and `cloning` from pages
        that were shown, and `ranker` keeps the ranker's order, so that pages can be logged before
        there is a policy; None for `dqn` without a log and `cql` with one.
      agent_options: Options of `cql` or `cloning`.
      pages: See `DrawnPages`; of a ranker's pages or a log's, `size` and `test` count.
      columns: What a policy sees of a ranker's candidates.
      most_moves: Most moves on a page. None is for k (k − 1) / 2 on a drawn page of k
        candidates, within which any order is; and for `SERVED_MOVES` on pages of a ranker or a log,
        because a server has to make these moves in a request.
      rewards: What clicks, seconds and purchases are worth.
      guards: What the policy may not do to a page.
      rules: Items that are pinned, boosted or excluded while it learns.
      dqn: How `dqn` learns.
      offline: How the agents learn that learn from shown pages.
      peers: Agents of other libraries that learn from as many moves, to compare with; see `PEERS`.
    """

    seed: Seed = 0
    user: str = "saturation"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    agent: str | None = None
    agent_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pages: DrawnPages = DrawnPages()
    columns: PageColumns = PageColumns()
    most_moves: Count | None = None
    rewards: Rewards = Rewards()
    guards: GuardOptions = GuardOptions()
    rules: Rules = Rules()
    dqn: DQNOptions = DQNOptions()
    offline: OfflineOptions = OfflineOptions()
    peers: tuple[str, ...] = ()
