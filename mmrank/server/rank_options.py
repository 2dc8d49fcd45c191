"""How POST /rank is worked on: the section `rank` of the server's config."""

from __future__ import annotations

import dataclasses

from mmrank.config import ConfigError


@dataclasses.dataclass(frozen=True)
class RankOptions:
    """How requests to /rank are worked on.

    Attributes:
      threads: Requests side by side. Most of their time they wait for TensorFlow and for Redis.
      waiting: Requests that may wait for a thread; one more is refused with 429.
      explained: Candidates of a request that asks for each modality's share, which takes the time
        of a request for each.
    """

    threads: int = 8
    waiting: int = 64
    explained: int = 1_000

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("waiting", 0), ("explained", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"rank: {name} is {getattr(self, name)}; give at least {least}")
