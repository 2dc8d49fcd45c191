"""Training lists whose labels are what another ranker thinks of their candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmrank.config import Config, ConfigError
from mmrank.data.batches import Batches
from mmrank.data.tables import Dataset
from mmrank.features import Features
from mmrank.training.row_weights import training_weights
from mmrank.training.sources import TableLists, make_batches


@dataclasses.dataclass(frozen=True)
class TaughtLists:
    """The training lists of a dataset with a teacher's opinion in place of the grades.

    Attributes:
      dataset: The dataset.
      scores: The teacher's scores of its training rows, [rows].
      temperature: By which they are divided first; a higher one spreads the opinion over more
        candidates.
      share: Of the teacher in the labels; the rest is the grades'.
    """

    dataset: Dataset
    scores: np.ndarray
    temperature: float = 1.0
    share: float = 1.0

    def check(self, config: Config) -> None:
        """Checks that the config learns one score of a list.

        Raises:
          ConfigError: It has tasks.
          DataError: There are no training lists, or the label that weights are chosen by lacks.
        """
        if config.training.tasks:
            raise ConfigError(
                "training.tasks: a teacher's scores are one goal; leave the tasks out of the config"
            )
        TableLists(self.dataset).check(config)

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""
        features.fit(self.dataset)

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> Batches:
        """The batches of these lists, see `TrainingLists`; a cut keeps what the teacher likes."""
        training = config.training
        weights = training_weights(self.dataset, training.popularity_weight, training.pseudo_weight)
        arrays = features.arrays(self.dataset, self.dataset.rows("train"), items)
        labels = opinions(self.scores, arrays.grades, arrays.offsets, self.temperature, self.share)
        return make_batches(
            config, dataclasses.replace(arrays, grades=labels), weights, config.seed
        )


def opinions(
    scores: np.ndarray,
    grades: np.ndarray,
    offsets: np.ndarray,
    temperature: float = 1.0,
    share: float = 1.0,
) -> np.ndarray:
    """Labels [rows] float32 whose sum over each list is 1, for a listwise cross entropy.

    A candidate's label is share · softmax(score / temperature) + (1 − share) · its part of the
    list's grades. A list without a grade above 0 has the teacher's opinion alone.

    Args:
      scores, grades: [rows].
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      temperature, share: See `TaughtLists`.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", equation 1; over
    the candidates of a list it is the top-one probability of Cao et al. 2007 (ListNet).
    """
    starts, lists = offsets[:-1], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    logits = scores.astype(np.float64) / temperature
    weights = np.exp(logits - np.maximum.reduceat(logits, starts)[lists])
    teacher = weights / np.add.reduceat(weights, starts)[lists]
    total = np.add.reduceat(grades.astype(np.float64), starts)[lists]
    graded = np.divide(grades, total, out=teacher.copy(), where=total > 0)
    return (share * teacher + (1 - share) * graded).astype(np.float32)
