"""The options of a deep Q-network."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from mmrank.ranges import Count, Range

__all__ = ["DQNOptions"]


@dataclasses.dataclass(frozen=True)
class DQNOptions:
    """How a policy is learned.

    Attributes:
      width: Width of the network.
      heads: Attention heads.
      layers: Layers of attention among the candidates.
      steps: Moves that are made in training, in all environments together.
      environments: Pages that are rearranged at the same time.
      batch: Transitions of an update; there is one update for each move of all environments.
      learning_rate: Step size of Adam at the start; it falls to zero along a cosine.
      n_step: Rewards that are added up before the network's own estimate.
      replay: Transitions that are kept.
      warm_up: Transitions before the first update.
      priority: Exponent of the priorities; 0 draws transitions uniformly.
      correction: Exponent of the importance weights at the start; it rises to 1.
      target: Updates between two copies into the target network.
      epsilon: Probability of a random move at the end; it falls from 1 over the first half.
      imitation: Updates that first teach the network to keep the ranker's order.
      margin: By how much it first values moves below finishing.
    """

    width: Count = 64
    heads: Count = 4
    layers: Count = 2
    steps: Count = 60_000
    environments: Count = 16
    batch: Count = 128
    learning_rate: Annotated[float, Range(0, above=True)] = 1e-3
    n_step: Count = 3
    replay: Count = 50_000
    warm_up: Count = 1_000
    priority: Annotated[float, Range(0, 1)] = 0.5
    correction: Annotated[float, Range(0, 1)] = 0.4
    target: Count = 200
    epsilon: Annotated[float, Range(0, 1)] = 0.02
    imitation: Annotated[int, Range(0)] = 100
    margin: Annotated[float, Range(0)] = 0.05
