"""Options of collaborative filtering, the same for baselines and for the ranker's feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmrank.ranges import Count, Positive, Seed, Weight


@dataclasses.dataclass(frozen=True)
class CollaborativeOptions:
    """Options of the scorers.

    Attributes:
      scorers: Names of `mmrank.collaborative.scorers.SCORERS`.
      snapshots: Times at which the item side is fitted anew: quantiles of the lists' times. A list
        uses the latest one that is not after it.
      weights: Weight of an event by its type, 1 where not given; 0 leaves the type out.
      half_life_days: Age at which an event weighs half; null for no decay.
      neighbours: Similar items kept for an item, or shoppers for a shopper.
      shrinkage: Similarities of items met together by few shoppers are shrunk: cosine or PMI ·
        n / (n + shrinkage), n shoppers who met both.
      shift: Of the positive PMI: pairs must be this many times likelier than chance.
      factors: Width of item vectors (PMI, ALS, GMF).
      confidence: Weight of an event over that of an item without one (ALS).
      regularization: Of ALS.
      epochs: Passes over the shoppers in each snapshot (GMF).
      negatives: Items drawn for each event (GMF).
      seed: Of every random start.
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
