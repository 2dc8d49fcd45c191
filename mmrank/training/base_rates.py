"""Where tasks begin: at what their labels are on average, not at even odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.data.batches import ListArrays
from mmrank.models import RankingModel
from mmrank.ranking.task_metrics import task_truth
from mmrank.ranking.tasks import TaskSpec


def base_outputs(tasks: Sequence[TaskSpec], arrays: ListArrays) -> dict[str, float]:
    """By task, the output of its own tower that fits its labels best if nothing else is known.

    For a chance the log-odds of k + 1 in n + 2 rows, of a task that follows another among the rows
    where that one happened; for a value the mean of the transformed label. Tasks whose loss only
    orders candidates have none.

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
    """Sets the last bias of each task's tower to its base output.

    From even odds the first hundred steps would go into unlearning that half of all products are
    bought.

    Args:
      model: A ranker that has not been trained.
      tasks: Its tasks.
      arrays: As for `base_outputs`.

    Source: Lin et al. 2017 (ICCV), "Focal loss for dense object detection", section 4.1.
    """
    last = model.scorer.get_layer("head").last_layers()
    outputs = base_outputs(tasks, arrays)
    for task, layer in zip(tasks, last, strict=True):
        if task.name in outputs:
            layer.bias.assign([outputs[task.name]])
