"""The options of learning from logged pages."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from mmrank.ranges import Count, Range

__all__ = ["OfflineOptions"]


@dataclasses.dataclass(frozen=True)
class OfflineOptions:
    """How a policy learns from logged pages.

    Attributes:
      width: Width of the network.
      heads: Attention heads.
      layers: Layers of attention among the candidates.
      updates: Number of updates.
      batch: Moves of an update, drawn uniformly.
      learning_rate: Step size of Adam at the start; it falls to zero along a cosine.
      judged: Share of the log, its latest pages, that is not learned from; it predicts what the
        policy gains.
    """

    width: Count = 32
    heads: Count = 4
    layers: Count = 1
    updates: Count = 1_200
    batch: Count = 512
    learning_rate: Annotated[float, Range(0, above=True)] = 2e-3
    judged: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5
