"""Ways for several tasks to share a scoring tower, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.ranking.multitask.base import TaskOptions, TaskTowers
from mmrank.ranking.multitask.mmoe import ExpertOptions, MixtureOfExperts
from mmrank.ranking.multitask.shared_bottom import SharedBottom
from mmrank.registry import Entry, Registry

__all__ = [
    "MULTITASK",
    "MixtureOfExperts",
    "SharedBottom",
    "TaskTowers",
    "make_towers",
]
MULTITASK = Registry(
    "multitask",
    {
        "shared_bottom": Entry(SharedBottom, TaskOptions),
        "mmoe": Entry(MixtureOfExperts, ExpertOptions),
    },
)


def make_towers(
    name: str,
    options: Mapping[str, Any],
    tasks: Sequence[str],
    hidden: Sequence[int],
    dropout: float,
) -> TaskTowers:
    """The layer of a name, from vectors [B, L, F] to scores [B, L] by task.

    Args:
      name: A name in `MULTITASK`.
      options: Options of this way of sharing.
      tasks, hidden, dropout: As for `TaskTowers`.

    Raises:
      ConfigError: The name or an option is unknown, or a value is out of its range.

    Example:
      >>> import tensorflow as tf
      >>> towers = make_towers("mmoe", {"experts": 2}, ["click", "buy"], hidden=[8], dropout=0.0)
      >>> {task: tuple(scores.shape) for task, scores in towers(tf.zeros([2, 3, 5])).items()}
      {'click': (2, 3), 'buy': (2, 3)}
    """
    return MULTITASK.make(name, options, tasks, hidden, dropout, name="task_towers")
