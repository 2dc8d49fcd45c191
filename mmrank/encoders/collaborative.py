"""What other shoppers did with a candidate: scores of collaborative filtering as one vector."""

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
    """The scores of a candidate for this shopper, and how many events both have.

    It stands in no column: it is computed from the events strictly before the list. What it is made
    of stands in `mmrank.collaborative.vectors`. A client that asks an export without `Ranker` sends
    the vector, as for any other.
    """

    sides = frozenset({"pair"})
    Options = CollaborativeFeatureOptions  # type: ignore[assignment]

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        make_scorers(self.options.scorers, self.options)
        self._known: AsOfScores | None = None

    def as_of(self, dataset: Dataset) -> AsOfScores | None:
        """The scores of a dataset, None without events or shoppers; those of the last are kept."""
        if dataset.events is None or dataset.schema.lists.user is None:
            return None
        if self._known is None or self._known.dataset is not dataset:
            self._known = AsOfScores(dataset, self.options)
        return self._known

    def fit_rows(self, dataset: Dataset, rows: pd.DataFrame) -> None:
        """Learns mean and deviation of the vectors of some rows."""
        vectors, present = self.vectors(dataset, rows)
        # Without a single vector the length has to be known all the same.
        self.fit_table(vectors[present] if present.any() else vectors[:1])

    def vectors(self, dataset: Dataset, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [N, scorers + 2] and presence [N] of some rows of the dataset's lists."""
        as_of = self.as_of(dataset)
        if as_of is None:
            length = len(self.options.scorers) + 2
            return np.zeros([len(rows), length], np.float32), np.zeros(len(rows), bool)
        return candidate_vectors(as_of, self.options.scorers, rows)
