"""Scores of collaborative filtering over all users' events, as one vector per candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import make_scorers
from mmrank.collaborative.snapshots import AsOfScores
from mmrank.collaborative.vectors import candidate_vectors
from mmrank.data.tables import Dataset
from mmrank.encoders.vector import Vector, VectorOptions
from mmrank.schema import Feature


@dataclasses.dataclass(frozen=True)
class CollaborativeFeatureOptions(VectorOptions, CollaborativeOptions):
    """Options of the feature: those of the scorers, and of the vector's encoder."""


class Collaborative(Vector):
    """The scores of a candidate for the list's user, and how many events both have.

    The feature has no column: it is computed from the events strictly before the list.
    `mmrank.collaborative.vectors` describes the vector. A client that calls an export without
    `Ranker` sends the vector itself, as for any other vector feature.
    """

    Options = CollaborativeFeatureOptions  # type: ignore[assignment]

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        make_scorers(self.options.scorers, self.options)
        self._known: AsOfScores | None = None

    def number_names(self) -> tuple[str, ...]:
        parts = (*self.options.scorers, "shopper_events", "item_events")
        return tuple(f"{self.name}/{part}" for part in parts)

    def as_of(self, dataset: Dataset) -> AsOfScores | None:
        """Returns a dataset's scores, None without events or users; caches the last dataset's."""
        if dataset.events is None or dataset.schema.lists.user is None:
            return None
        if self._known is None or self._known.dataset is not dataset:
            self._known = AsOfScores(dataset, self.options)
        return self._known

    def fit_rows(self, dataset: Dataset, rows: pd.DataFrame) -> None:
        """Learns the mean and deviation of the vectors of some rows."""
        vectors, present = self.vectors(dataset, rows)
        # Without a single vector present, the length still has to be known.
        self.fit_table(vectors[present] if present.any() else vectors[:1])

    def vectors(self, dataset: Dataset, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Returns vectors [N, scorers + 2] and presence [N] of some rows of the dataset's lists."""
        as_of = self.as_of(dataset)
        if as_of is None:
            length = len(self.options.scorers) + 2
            return np.zeros([len(rows), length], np.float32), np.zeros(len(rows), bool)
        return candidate_vectors(as_of, self.options.scorers, rows)
