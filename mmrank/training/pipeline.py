"""The tf.data pipeline of training batches: inputs, labels, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.data.batches import Batch
from mmrank.ranking.tasks import TaskSpec
from mmrank.tracing import as_written
from mmrank.training.sources import TrainingBatches
from mmrank.training.targets import take_targets


def training_dataset(
    strategy: tf.distribute.Strategy,
    batches: TrainingBatches,
    start: int,
    tasks: Sequence[TaskSpec] = (),
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """Returns an endless dataset for Keras, with one batch per replica and step.

    Its elements are (inputs, labels) or (inputs, labels, weights).

    Args:
      strategy: The strategy; each of its workers draws its own share of the batches.
      batches: The training batches.
      start: Steps already taken by every replica.
      tasks: As for `batch_dataset`.
    """

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        shard = (context.input_pipeline_id, context.num_input_pipelines)
        return batch_dataset(batches, start * replicas, shard, tasks).prefetch(2)

    if strategy.num_replicas_in_sync == 1:
        return of_worker(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(of_worker)


def batch_dataset(
    batches: TrainingBatches, start: int, shard: tuple[int, int], tasks: Sequence[TaskSpec] = ()
) -> tf.data.Dataset:
    """Returns a tf.data pipeline over `Batches.stream`: inputs, TF-Ranking labels, maybe weights.

    Args:
      batches: The batches, which hold the labels that the tasks read.
      start: Number of batches that this worker has already taken.
      shard: As for `Batches.stream`.
      tasks: The tasks. With several tasks, labels and weights are mappings by task. Without tasks,
        the labels are the grades.
    """

    def stream() -> Iterator[Batch]:
        yield from batches.stream(start, shard)

    listwise = batches.listwise
    signature = {
        name: tf.TensorSpec([None] * min(a.ndim, 1) + _rest(a, name in listwise), _dtype(a))
        for name, a in batches.largest().items()
    }

    @as_written
    def with_labels(batch: dict[str, tf.Tensor]) -> tuple[Any, ...]:
        targets, weights = take_targets(batch, tasks)
        return (batch, targets) if weights is None else (batch, targets, weights)

    dataset = tf.data.Dataset.from_generator(stream, output_signature=signature)
    return dataset.map(with_labels)


def _rest(array: np.ndarray, listwise: bool) -> list[int | None]:
    """Returns the dimensions after the first: list lengths vary, all other dimensions are fixed."""
    return [None, *array.shape[2:]] if listwise else list(array.shape[1:])


def _dtype(array: np.ndarray) -> tf.DType:
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)
