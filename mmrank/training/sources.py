"""Where training lists come from: the tables of a dataset, or anything else that offers this."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from mmrank.config import Config
from mmrank.data.batches import Batch, Batches, ListArrays
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.goals import build_tasks
from mmrank.ranking.tasks import labels_read
from mmrank.training.position_bias import check_positions, positions_read, propensity_weighted
from mmrank.training.row_weights import training_weights, weighted
from mmrank.training.targets import check_labels, for_training


class TrainingBatches(Protocol):
    """Endless batches in the form of `Batches`, which is one of these."""

    @property
    def per_pass(self) -> int:
        """Batches of a pass over all lists, whoever takes them."""

    @property
    def size(self) -> tuple[int, int]:
        """Lists, and candidates after the cut."""

    @property
    def sample(self) -> ListArrays:
        """Some lists, or all, by whose labels a ranker can start."""

    @property
    def listwise(self) -> frozenset[str]:
        """Names of what a batch holds by candidate, [B, L, ...]."""

    def largest(self) -> Batch:
        """A batch of the most candidates."""

    def stream(self, start: int, shard: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """The batches of a worker, as `Batches.stream`."""


class TrainingLists(Protocol):
    """Lists to learn from."""

    def check(self, config: Config) -> None:
        """Raises a `UserError` where they lack what the config learns."""

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> TrainingBatches:
        """Their batches, with the labels and weights that the config's tasks want.

        Args:
          config: The config.
          features: Fitted features.
          items: The item arrays of the dataset's catalogue.
        """


@dataclasses.dataclass(frozen=True)
class TableLists:
    """The training lists in the tables of a dataset."""

    dataset: Dataset

    def check(self, config: Config) -> None:
        """Checks that there are lists, and the labels and positions that are learned from.

        Raises:
          DataError: There are none.
        """
        if self.dataset.rows("train").empty:
            raise DataError("the dataset has no train list; a run needs some of each")
        check_labels(self.dataset, build_tasks(config), config.training.select_by)
        check_positions(self.dataset, config.training.tasks)

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""
        features.fit(self.dataset)

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> Batches:
        """The batches of these lists, see `TrainingLists`."""
        training = config.training
        weights = training_weights(self.dataset, training.popularity_weight, training.pseudo_weight)
        arrays = features.arrays(self.dataset, self.dataset.rows("train"), items)
        return make_batches(config, arrays, weights, config.seed)


def make_batches(
    config: Config, arrays: ListArrays, weights: np.ndarray | None, seed: int
) -> Batches:
    """The batches of some training lists, with the labels and weights that the tasks want.

    Args:
      config: The config.
      arrays: The lists.
      weights: Of their rows, [rows]; None where all weigh 1.
      seed: Of the order and the cuts.
    """
    tasks = build_tasks(config)
    arrays = propensity_weighted(for_training(arrays, tasks), config.training.tasks)
    return Batches(
        weighted(arrays, tasks, weights),
        config.training.batch_lists,
        config.data.buckets,
        config.data.max_candidates,
        seed,
        config.training.block_lists,
        labels=labels_of(config),
    )


def labels_of(config: Config) -> Sequence[str]:
    """The labels that the batches of a config hold beside the grades."""
    return (*labels_read(build_tasks(config)), *positions_read(config.training.tasks))
