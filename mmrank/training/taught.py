"""Training lists for distillation: their labels come from the scores of another ranker."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from mmrank.config import Config, ConfigError
from mmrank.data.batches import Batches
from mmrank.data.tables import Dataset
from mmrank.features import Features
from mmrank.training.row_weights import training_weights
from mmrank.training.sources import TableLists, make_batches

logger = logging.getLogger(__name__)


class Scores(Protocol):
    """Interface of a teacher, which scores rows of a dataset."""

    def score(self, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray: ...


def taught(teacher: Scores, dataset: Dataset, temperature: float, share: float) -> TaughtLists:
    """Scores the training lists of a dataset with a teacher and returns them with its labels.

    Args:
      teacher: The other ranker.
      dataset, temperature, share: As for `TaughtLists`.
    """
    rows = dataset.rows("train")
    logger.info("the teacher scores %s training candidates", f"{len(rows):,}")
    return TaughtLists(dataset, teacher.score(dataset, rows), temperature, share)


@dataclasses.dataclass(frozen=True)
class TaughtLists:
    """The training lists of a dataset with labels from a teacher's scores in place of the grades.

    Attributes:
      dataset: The dataset.
      scores: The teacher's scores of the training rows, [rows].
      temperature: Divisor of the scores before the softmax; a higher temperature distributes the
        labels over more candidates.
      share: Share of the teacher in the labels; the rest comes from the grades.
    """

    dataset: Dataset
    scores: np.ndarray
    temperature: float = 1.0
    share: float = 1.0

    def check(self, config: Config) -> None:
        """Checks that the config has no tasks and that the dataset has what training needs.

        Raises:
          ConfigError: The config has tasks.
          DataError: There are no training lists, or the label that selects weights is missing.
        """
        if config.training.tasks:
            raise ConfigError(
                "training.tasks: a teacher's scores are one objective; remove training.tasks"
            )
        TableLists(self.dataset).check(config)

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""
        features.fit(self.dataset)

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> Batches:
        """Returns the batches of these lists, see `TrainingLists`.

        Long lists are cut by the new labels, so that candidates preferred by the teacher are kept.
        """
        training = config.training
        weights = training_weights(self.dataset, training.popularity_weight, training.pseudo_weight)
        arrays = features.arrays(self.dataset, self.dataset.rows("train"), items)
        labels = teacher_labels(
            self.scores, arrays.grades, arrays.offsets, self.temperature, self.share
        )
        return make_batches(
            config, dataclasses.replace(arrays, grades=labels), weights, config.seed
        )


def teacher_labels(
    scores: np.ndarray,
    grades: np.ndarray,
    offsets: np.ndarray,
    temperature: float = 1.0,
    share: float = 1.0,
) -> np.ndarray:
    """Returns labels [rows] float32 whose sum over each list is 1, for a listwise cross entropy.

    A candidate's label is share · softmax(score / temperature) + (1 − share) · its grade / sum of
    the list's grades. In a list without a grade above 0, the labels come from the teacher alone.

    Args:
      scores, grades: [rows].
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      temperature, share: See `TaughtLists`.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", equation 1; over
    the candidates of a list it is the top-one probability of Cao et al. 2007 (ListNet).

    Example:
      Equal scores give every candidate half; with a share of 1/2, the grades give the other half:

      >>> import numpy as np
      >>> scores, grades, offsets = np.array([7.0, 7.0]), np.array([1.0, 0.0]), np.array([0, 2])
      >>> teacher_labels(scores, grades, offsets).tolist()
      [0.5, 0.5]
      >>> teacher_labels(scores, grades, offsets, share=0.5).tolist()
      [0.75, 0.25]
    """
    starts, lists = offsets[:-1], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    logits = scores.astype(np.float64) / temperature
    weights = np.exp(logits - np.maximum.reduceat(logits, starts)[lists])
    teacher = weights / np.add.reduceat(weights, starts)[lists]
    total = np.add.reduceat(grades.astype(np.float64), starts)[lists]
    graded = np.divide(grades, total, out=teacher.copy(), where=total > 0)
    return (share * teacher + (1 - share) * graded).astype(np.float32)
