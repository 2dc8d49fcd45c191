"""Sources of training lists: the tables of a dataset, or any class with the same interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from mmrank.config import Config
from mmrank.data.batches import Batch, Batches, ListArrays
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.objectives import build_tasks
from mmrank.ranking.tasks import labels_read
from mmrank.training.position_bias import check_positions, positions_read, propensity_weighted
from mmrank.training.row_weights import training_weights, weighted
from mmrank.training.targets import check_labels, for_training


class TrainingBatches(Protocol):
    """Interface of endless training batches, which `Batches` implements."""

    @property
    def per_pass(self) -> int:
        """Number of batches in a pass over all lists, over all workers together."""

    @property
    def size(self) -> tuple[int, int]:
        """Number of lists, and number of candidates after long lists are cut."""

    @property
    def sample(self) -> ListArrays:
        """Some or all of the lists, with labels from which a ranker can be initialised."""

    @property
    def listwise(self) -> frozenset[str]:
        """Names of the arrays in a batch that are by candidate, [B, L, ...]."""

    def largest(self) -> Batch:
        """Returns a batch with the largest number of candidates."""

    def stream(self, start: int, shard: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Yields the batches of a worker, as `Batches.stream` does."""


class TrainingLists(Protocol):
    """Interface of a source of training lists."""

    def check(self, config: Config) -> None:
        """Raises a `UserError` if the lists lack something that the config needs for training."""

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> TrainingBatches:
        """Returns the batches of the lists, with labels and weights for the config's tasks.

        Args:
          config: The config.
          features: Fitted features.
          items: The item arrays of the dataset's catalogue, [items, ...] by input name.
        """


@dataclasses.dataclass(frozen=True)
class TableLists:
    """The training lists in the tables of a dataset."""

    dataset: Dataset

    def check(self, config: Config) -> None:
        """Checks that the dataset has training lists, and the labels and positions for training.

        Raises:
          ConfigError: `training.select_by` is not a label.
          DataError: The dataset has no training list, or lacks a label or positions.
        """
        if self.dataset.rows("train").empty:
            raise DataError("the dataset has no train lists; a run needs train and valid lists")
        check_labels(self.dataset, build_tasks(config), config.training.select_by)
        check_positions(self.dataset, config.training.tasks)

    def fit(self, features: Features) -> None:
        """Fits features on these lists."""
        features.fit(self.dataset)

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> Batches:
        """Returns the batches of these lists, see `TrainingLists`."""
        training = config.training
        weights = training_weights(self.dataset, training.popularity_weight, training.pseudo_weight)
        arrays = features.arrays(self.dataset, self.dataset.rows("train"), items)
        return make_batches(config, arrays, weights, config.seed)


def make_batches(
    config: Config, arrays: ListArrays, weights: np.ndarray | None, seed: int
) -> Batches:
    """Returns the batches of some training lists, with labels and weights for the config's tasks.

    Args:
      config: The config.
      arrays: The lists.
      weights: Weights of the rows, [rows]; None if all weights are 1.
      seed: Seed of the order of lists and of the cuts of long lists.
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
    """Returns the labels that the batches of a config hold in addition to the grades."""
    return (*labels_read(build_tasks(config)), *positions_read(config.training.tasks))
