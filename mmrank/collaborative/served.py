"""Collaborative scores of an exported ranker: fitted once, stored as one file of plain arrays."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.base import Asked, Scorer
from mmrank.collaborative.matrix import read_interactions
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import SCORERS, make_scorers, score_new_items
from mmrank.collaborative.snapshots import known_users
from mmrank.collaborative.vectors import standardised
from mmrank.data.as_of import training_end
from mmrank.data.tables import Dataset

FILE = "collaborative.npz"
_ABOUT, _IDS, _COUNTS = "about", "item_ids", "item_events"


@dataclasses.dataclass(frozen=True)
class ServedScores:
    """The vector of each candidate, from the user's events in a request.

    Attributes:
      scorers: Fitted scorers by name, in the order of the vector.
      item_ids: Item ids, [items] str.
      item_events: Events of each item at the time of fitting, [items] int64.
      options: Options of the scorers.
    """

    scorers: Mapping[str, Scorer]
    item_ids: np.ndarray
    item_events: np.ndarray
    options: CollaborativeOptions

    def vectors(
        self, history: Sequence[tuple[str, str, float]], candidates: Sequence[str]
    ) -> list[list[float] | None]:
        """A vector for each candidate as in training; None where user or item is unknown.

        Args:
          history: The user's events: item id, type and age in days. Items that were not in the
            catalogue are ignored.
          candidates: Item ids of one list.
        """
        number = self._numbers
        weighed = [
            (number[item], self.options.weights.get(kind, 1.0), age)
            for item, kind, age in history
            if item in number
        ]
        met = [(item, self._decayed(weight, age)) for item, weight, age in weighed if weight > 0]
        items = np.array([number.get(item, -1) for item in candidates])
        found = items >= 0
        columns = np.zeros([len(items), len(self.scorers) + 2])
        if met:
            indices, weights = np.array([m[0] for m in met]), [m[1] for m in met]
            shape = (1, len(self.item_ids))
            row = sp.csr_matrix((weights, (np.zeros(len(met), int), indices)), shape=shape)
            lists = np.zeros(int(found.sum()), int)
            asked = Asked(row, np.array([-1]), lists, items[found])
            starts = np.array([0, len(items)])
            for column, scorer in enumerate(self.scorers.values()):
                scores = np.zeros(len(items))
                scores[found] = scorer.score(asked)
                columns[:, column] = standardised(scores, starts)
        counts = np.where(found, self.item_events[items], 0)
        columns[:, -2], columns[:, -1] = np.log1p(len(met)), np.log1p(counts)
        known = (counts > 0) | (found & score_new_items(list(self.scorers)))
        there = known & bool(met)
        return [list(map(float, c)) if t else None for c, t in zip(columns, there, strict=True)]

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {str(item): i for i, item in enumerate(self.item_ids)}

    def _decayed(self, weight: float, age: float) -> float:
        half_life = self.options.half_life_days
        return weight if half_life is None else weight * 0.5 ** (age / half_life)

    def save(self, file: pathlib.Path) -> None:
        """Writes everything into one npz file without pickled objects."""
        arrays: dict[str, Any] = {
            f"{n}/{k}": a for n, s in self.scorers.items() for k, a in s.arrays().items()
        }
        about = {"scorers": list(self.scorers), "options": dataclasses.asdict(self.options)}
        arrays[_ABOUT] = np.array(json.dumps(about))
        arrays[_IDS], arrays[_COUNTS] = self.item_ids.astype(str), self.item_events
        np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, file: pathlib.Path) -> ServedScores:
        """The scores that `save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        about = json.loads(str(arrays[_ABOUT]))
        names = tuple(about["scorers"])
        options = CollaborativeOptions(**about["options"] | {"scorers": names})
        scorers = {name: SCORERS.make(name, options) for name in names}
        for name, scorer in scorers.items():
            prefix = f"{name}/"
            own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
            scorer.restore(own)
        return cls(scorers, arrays[_IDS], arrays[_COUNTS], options)


def fit_served(dataset: Dataset, options: CollaborativeOptions) -> ServedScores | None:
    """The scores to serve, fitted on events before the end of training; None if there are none.

    Events of the test period stay out, so that an export can be measured on the test lists.

    Args:
      dataset: A dataset with events.
      options: Options of the feature.
    """
    if dataset.events is None:
        return None
    events = read_interactions(dataset, options.weights, options.half_life_days)
    end = training_end(dataset)
    matrix, _ = known_users(events.before(end))
    if not matrix.nnz:
        return None
    names = [f.name for f in dataclasses.fields(CollaborativeOptions)]
    plain = CollaborativeOptions(**{name: getattr(options, name) for name in names})
    scorers = make_scorers(plain.scorers, plain)
    for scorer in scorers.values():
        scorer.know(dataset)
        scorer.fit(matrix)
    counts = np.bincount(events.items[events.times < end], minlength=events.item_count)
    return ServedScores(scorers, dataset.item_ids.astype(str), counts, plain)
