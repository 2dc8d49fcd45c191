"""Initialises the outputs of tasks at the average of their labels, not at even odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.data.batches import ListArrays
from mmrank.models import RankingModel
from mmrank.ranking.task_metrics import task_truth
from mmrank.ranking.tasks import TaskSpec


def base_outputs(tasks: Sequence[TaskSpec], arrays: ListArrays) -> dict[str, float]:
    """Returns, by task, the constant output that fits the task's labels best.

    For a probability, it is the log-odds of k + 1 in n + 2 rows, where k of n rows are positive. If
    the task is conditional on another task, only rows where that task happened count. For a value,
    it is the mean of the transformed label. Tasks whose loss only orders candidates are left out.

    Args:
      tasks: The tasks.
      arrays: The training lists, with the labels that the tasks read.
    """
    truths = {task.name: task_truth(task, arrays.labels) for task in tasks}
    found = {}
    for task in tasks:
        truth, part = truths[task.name]
        if task.given is not None:
            part = part & (truths[task.given][0] > 0)
        if task.is_value and part.any():
            found[task.name] = float(truth[part].mean())
        elif task.is_probability:
            happened = float((truth[part] > 0).sum())
            found[task.name] = float(np.log((happened + 1) / (part.sum() - happened + 1)))
    return found


def start_at_base_rates(model: RankingModel, tasks: Sequence[TaskSpec], arrays: ListArrays) -> None:
    """Sets the bias of each task's last layer to its base output.

    Otherwise every probability begins at one half, and the first hundred steps only lower it, for
    example from half of all products being bought.

    Args:
      model: A ranker that has not been trained.
      tasks: The ranker's tasks.
      arrays: As for `base_outputs`.

    Source: Lin et al. 2017 (ICCV), "Focal loss for dense object detection", section 4.1.
    """
    last = model.scorer.get_layer("head").last_layers()
    outputs = base_outputs(tasks, arrays)
    for task, layer in zip(tasks, last, strict=True):
        if task.name in outputs:
            layer.bias.assign([outputs[task.name]])
