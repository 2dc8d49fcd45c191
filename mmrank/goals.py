"""Config of what is learned → losses, tasks, and what their outputs mean."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from mmrank.config import Config, Loss, Task
from mmrank.models import RankingModel
from mmrank.ranking.losses import MaskedLoss, make_loss
from mmrank.ranking.order import parse_order
from mmrank.ranking.position_tower import ADD, FORMS, PositionTower
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import LOG1P, NONE, TaskSpec, chains
from mmrank.ranking.uncertainty import UncertainLoss
from mmrank.schema import did_you_mean

UNCERTAINTY = "uncertainty"
TASK_WEIGHTS = ("fixed", UNCERTAINTY)
NO_BIAS, TOWER, IPW = POSITION_BIASES = ("none", "tower", "ipw")
# Losses whose terms each belong to one click, so that a weight of the click is one of its term.
IPW_LOSSES = (
    "softmax_loss",
    "sigmoid_cross_entropy_loss",
    "mean_squared_loss",
    "pairwise_hinge_loss",
    "pairwise_logistic_loss",
    "pairwise_soft_zero_one_loss",
)


def build_loss(loss: Loss) -> MaskedLoss:
    """The TF-Ranking loss that a config names."""
    return make_loss(loss.name, loss.options, loss.lambda_weight, loss.lambda_options)


def build_tasks(config: Config) -> tuple[TaskSpec, ...]:
    """The tasks of a config, none where grades are learned without a name.

    Raises:
      ValueError: A name, label, transformation or chain of tasks that cannot be.
    """
    tasks = []
    for name, task in config.training.tasks.items():
        label = name if task.label is None else task.label
        transform = task.transform or (LOG1P if label == "dwell" else NONE)
        tasks.append(TaskSpec(name, label, task.loss.name, transform, task.among, task.given))
        if not task.weight > 0:
            raise ValueError(f"task {name!r}: a weight is above 0, not {task.weight}")
        build_loss(task.loss)
    chains(tasks)
    return tuple(tasks)


def build_position_towers(tasks: Mapping[str, Task]) -> dict[str, PositionTower]:
    """The position towers by task, of those that have one.

    Raises:
      ValueError: A position bias that cannot be, or that does not fit the loss.
    """
    towers = {}
    for name, task in tasks.items():
        bias, loss = task.position_bias, task.loss.name
        where = f"task {name!r}: position_bias"
        if bias.name not in POSITION_BIASES:
            raise ValueError(
                f"{where}: unknown name {bias.name!r}{did_you_mean(bias.name, POSITION_BIASES)}"
            )
        if loss in FORMS and (bias.name != TOWER or len(tasks) > 1):
            raise ValueError(
                f"task {name!r}: {loss} needs logits of examination beside the scores: give it "
                f"position_bias {{name: {TOWER}}}, and make it the only task"
            )
        if bias.name == TOWER:
            form = FORMS.get(loss, ADD)
            tower = PositionTower(form, bias.dropout, bias.behaviours, name=f"positions_{name}")
            towers[name] = tower
        if (bias.name == IPW) != (bias.propensities is not None):
            raise ValueError(f"{where}: `propensities` goes with the name {IPW}, and only with it")
        if bias.name == IPW and loss not in IPW_LOSSES:
            raise ValueError(
                f"{where}: {loss} cannot weigh clicks one by one; use one of "
                f"{', '.join(IPW_LOSSES)}"
            )
        if not 0 < bias.clip <= 1:
            raise ValueError(f"{where}: clip {bias.clip} is not above 0 and at most 1")
    return towers


def build_outputs(
    config: Config, calibration: Mapping[str, tuple[float, float]] | None = None
) -> TaskOutputs | None:
    """What the outputs of a config's tasks mean; None without tasks.

    Args:
      config: The config.
      calibration: As `TaskOutputs` takes it.

    Raises:
      ValueError: As `build_tasks`, or the order is missing, wrong, or has nothing to order.
    """
    tasks, order = build_tasks(config), config.model.order
    names = [task.name for task in tasks]
    if len(tasks) < 2:
        if order is not None:
            raise ValueError(
                f"model.order {order!r} combines several tasks, and training.tasks has {len(tasks)}"
            )
        return TaskOutputs(tasks) if tasks else None
    if order is None:
        raise ValueError(
            f"model.order: say how the tasks {', '.join(names)} make one score, "
            f"such as '{' * '.join(names)}'"
        )
    return TaskOutputs(tasks, parse_order(order, names), calibration or {})


def check_task_weights(config: Config) -> None:
    """Nothing, if the weights of the tasks fit together.

    Raises:
      ValueError: They do not.
    """
    training = config.training
    if training.task_weights not in TASK_WEIGHTS:
        raise ValueError(
            f"training.task_weights: unknown {training.task_weights!r}"
            f"{did_you_mean(training.task_weights, TASK_WEIGHTS)}"
        )
    if training.task_weights == UNCERTAINTY:
        if len(training.tasks) < 2:
            raise ValueError("training.task_weights: uncertainty weighs several tasks")
        for name, task in training.tasks.items():
            if task.weight != 1:
                raise ValueError(
                    f"task {name!r}: its weight is learned under task_weights uncertainty; "
                    "leave `weight` out"
                )


def build_task_losses(
    config: Config, model: RankingModel
) -> tf.keras.losses.Loss | dict[str, tf.keras.losses.Loss]:
    """The loss of a model, or by task if it has several, as `compile` takes it."""
    tasks = config.training.tasks
    if not tasks:
        return build_loss(config.training.loss)
    losses = {name: build_loss(task.loss) for name, task in tasks.items()}
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
