"""Options of collaborative filtering, shared by baselines and by the ranker's feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmrank.ranges import Count, Positive, Seed, Weight


@dataclasses.dataclass(frozen=True)
class CollaborativeOptions:
    """Options of the scorers.

    Attributes:
      scorers: Names of `mmrank.collaborative.scorers.SCORERS`.
      snapshots: How many times the item side is fitted: at quantiles of the times of training and
        validation lists, and at further times of the test lists. A list uses the latest fit of its
        own group that is not after the list.
      weights: Weight of an event by its type, 1 where not given; 0 leaves the type out.
      half_life_days: Age at which an event's weight is halved; null for no decay.
      neighbours: Similar items kept for an item, or similar users for a user.
      shrinkage: Shrinks similarities of items that few users met together: cosine or PMI ·
        n / (n + shrinkage), n users who met both.
      shift: Shift of the positive PMI: pairs must be this many times likelier than at random.
      factors: Width of item vectors (PMI, ALS, GMF).
      confidence: Weight of an event relative to an item without one (ALS).
      regularization: Regularization of ALS.
      epochs: Passes over the users in each snapshot (GMF).
      negatives: Items drawn for each event (GMF).
      seed: Seed of all random numbers.

    Example:
      >>> options = CollaborativeOptions(scorers=("itemknn",), weights={"purchase": 5.0})
      >>> options.neighbours, options.weights.get("click", 1.0)
      (100, 1.0)
    """

    scorers: tuple[str, ...] = ("itemknn", "userknn", "pmi", "als", "gmf")
    snapshots: Count = 24
    weights: Mapping[str, Weight] = dataclasses.field(default_factory=dict)
    half_life_days: Positive | None = None
    neighbours: Count = 100
    shrinkage: Weight = 10.0
    shift: Positive = 1.0
    factors: Count = 32
    confidence: Weight = 5.0
    regularization: Weight = 5.0
    epochs: Count = 10
    negatives: Count = 5
    seed: Seed = 0
