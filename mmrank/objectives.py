"""Builds losses, tasks and the meaning of their outputs from a config."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from mmrank.config import Config, Loss, Task
from mmrank.models import RankingModel
from mmrank.ranking.list_loss import BatchLoss
from mmrank.ranking.losses import LOSSES, make_loss
from mmrank.ranking.order import parse_order
from mmrank.ranking.position_tower import ADD, PositionTower
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import LOG1P, NONE, TaskSpec, chains
from mmrank.ranking.uncertainty import UncertainLoss
from mmrank.schema import did_you_mean

UNCERTAINTY = "uncertainty"
TASK_WEIGHTS = ("fixed", UNCERTAINTY)
NO_BIAS, TOWER, IPW = POSITION_BIASES = ("none", "tower", "ipw")


def build_loss(loss: Loss, where: str = "training.loss") -> BatchLoss:
    """The loss that a config names under the key `where`."""
    return make_loss(loss.name, loss.options, loss.lambda_weight, loss.lambda_options, where)


def build_task_loss(name: str, task: Task) -> BatchLoss:
    """The loss of a task."""
    return build_loss(task.loss, f"training.tasks.{name}.loss")


def build_tasks(config: Config) -> tuple[TaskSpec, ...]:
    """The tasks of a config, empty if it learns grades without tasks.

    Raises:
      ValueError: A name, label, weight, loss, transformation or chain of tasks is not valid.
    """
    tasks = []
    for name, task in config.training.tasks.items():
        label = name if task.label is None else task.label
        transform = task.transform or (LOG1P if label == "dwell" else NONE)
        tasks.append(TaskSpec(name, label, task.loss.name, transform, task.among, task.given))
        if not task.weight > 0:
            raise ValueError(f"task {name!r}: weight {task.weight} must be above 0")
        build_task_loss(name, task)
    chains(tasks)
    return tuple(tasks)


def build_position_towers(tasks: Mapping[str, Task]) -> dict[str, PositionTower]:
    """The position towers by task, for tasks that have one.

    Raises:
      ValueError: A position bias is not valid, or does not fit the loss.
    """
    towers = {}
    for name, task in tasks.items():
        bias, loss = task.position_bias, task.loss.name
        where = f"task {name!r}: position_bias"
        if bias.name not in POSITION_BIASES:
            raise ValueError(
                f"{where}: unknown name {bias.name!r}{did_you_mean(bias.name, POSITION_BIASES)}"
            )
        form, per_click = LOSSES.entry(loss).form, LOSSES.entry(loss).per_click
        if form != ADD and (bias.name != TOWER or len(tasks) > 1):
            raise ValueError(
                f"task {name!r}: {loss} needs logits of examination in addition to scores: set "
                f"position_bias {{name: {TOWER}}}, and make it the only task"
            )
        if bias.name == TOWER:
            tower = PositionTower(form, bias.dropout, bias.behaviours, name=f"positions_{name}")
            towers[name] = tower
        if (bias.name == IPW) != (bias.propensities is not None):
            raise ValueError(f"{where}: `propensities` is for the name {IPW}, which requires it")
        if bias.name == IPW and not per_click:
            raise ValueError(
                f"{where}: {loss} cannot weight single clicks; use one of "
                f"{', '.join(n for n, entry in LOSSES.items() if entry.per_click)}"
            )
        if not 0 < bias.clip <= 1:
            raise ValueError(f"{where}: clip {bias.clip} must be above 0 and at most 1")
    return towers


def build_outputs(
    config: Config, calibration: Mapping[str, tuple[float, float]] | None = None
) -> TaskOutputs | None:
    """What the outputs of a config's tasks mean; None without tasks.

    Args:
      config: The config.
      calibration: As `TaskOutputs` takes it.

    Raises:
      ValueError: As `build_tasks`, or the order is missing, wrong, or there is nothing to combine.
    """
    tasks, order = build_tasks(config), config.model.order
    names = [task.name for task in tasks]
    if len(tasks) < 2:
        if order is not None:
            raise ValueError(
                f"model.order {order!r} combines several tasks, but training.tasks has {len(tasks)}"
            )
        return TaskOutputs(tasks) if tasks else None
    if order is None:
        raise ValueError(
            f"model.order: say how to combine the tasks {', '.join(names)} into one score, "
            f"such as '{' * '.join(names)}'"
        )
    return TaskOutputs(tasks, parse_order(order, names), calibration or {})


def check_task_weights(config: Config) -> None:
    """Checks that the weights of the tasks are valid and compatible.

    Raises:
      ValueError: They are not.
    """
    training = config.training
    if training.task_weights not in TASK_WEIGHTS:
        raise ValueError(
            f"training.task_weights: unknown {training.task_weights!r}"
            f"{did_you_mean(training.task_weights, TASK_WEIGHTS)}"
        )
    if training.task_weights == UNCERTAINTY:
        if len(training.tasks) < 2:
            raise ValueError("training.task_weights: uncertainty needs several tasks")
        for name, task in training.tasks.items():
            if task.weight != 1:
                raise ValueError(
                    f"task {name!r}: task_weights uncertainty learns its weight; remove `weight`"
                )


def build_task_losses(
    config: Config, model: RankingModel
) -> tf.keras.losses.Loss | dict[str, tf.keras.losses.Loss]:
    """The loss of a model, or a loss for each task if it has several, as `compile` takes it."""
    tasks = config.training.tasks
    if not tasks:
        return build_loss(config.training.loss)
    losses = {name: build_task_loss(name, task) for name, task in tasks.items()}
    if len(losses) == 1:
        return losses[next(iter(losses))]
    if model.uncertainty is None:
        return losses
    assert model.outputs is not None
    variances = model.uncertainty.log_variances
    return {
        task.name: UncertainLoss(losses[task.name], variances[task.name], task.is_value)
        for task in model.outputs.tasks
    }
