"""The section `training` of a config: the optimisation and its objectives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmrank.ranges import Count, Dropped, Kept, Positive, Share, Weight

NO_TEACHER, SELF = "none", "self"


@dataclasses.dataclass(frozen=True)
class Loss:
    """A TF-Ranking Keras loss by name, with its options and optional lambda weight.

    Attributes:
      name: A value of `tfr.keras.losses.RankingLossKey`, such as softmax_loss or
        approx_ndcg_loss.
      options: Further arguments of that loss, such as temperature.
      lambda_weight: A name such as ndcg_lambda_weight, or None.
      lambda_options: Arguments of the lambda weight, such as topn.
    """

    name: str = "softmax_loss"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lambda_weight: str | None = None
    lambda_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PositionBias:
    """How a task corrects for the influence of an item's position on its clicks.

    Attributes:
      name: none; `tower`, a logit of the position that training adds and serving leaves out; or
        `ipw`, clicks weighted by inverse propensity.
      propensities: Table of `python -m mmrank.propensity` (ipw).
      clip: Lower bound on propensities; lower values are raised to it (ipw).
      dropout: Share of the positions that training hides from the tower (tower).
      behaviours: Number of ways of reading a page, under mixture_em_loss (tower).
    """

    name: str = "none"
    propensities: str | None = None
    clip: Kept = 0.05
    dropout: Dropped = 0.1
    behaviours: Count = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """One objective of the ranker, such as click or purchase.

    Attributes:
      label: A label of the schema; null for the label named like the task.
      loss: The loss on the label; the default makes the output a probability.
      weight: Factor on the loss.
      transform: none or log1p, applied to the label before its loss. Null means log1p for dwell,
        else none.
      among: A label. Candidates whose value of it is not above 0 are left out of the task.
      given: Another task whose outcome this one requires, as a purchase requires a click. The
        network then learns the conditional probability, and the loss is on the product of both
        probabilities, over all candidates.
      position_bias: See PositionBias.
    """

    label: str | None = None
    loss: Loss = Loss(name="sigmoid_cross_entropy_loss")
    weight: Weight = 1.0
    transform: str | None = None
    among: str | None = None
    given: str | None = None
    position_bias: PositionBias = PositionBias()


@dataclasses.dataclass(frozen=True)
class FineTune:
    """How one encoder learns, compared with the rest of the model.

    Attributes:
      schedule: `full` from the start, `gradual` from the top layer downward, or `frozen`.
      unfreeze_epoch: Epochs before the first layers begin to learn (gradual).
      layers_per_epoch: How many layers begin then and in each later epoch; null for all at once.
      layers: How many layers from the top learn at all; null for all. No gradient is computed for
        the layers below, and their statistics stay as they are.
      learning_rate: Factor on the learning rate of the rest of the model.
      layer_decay: Further factor for each layer below the top.
    """

    schedule: str = "full"
    unfreeze_epoch: int = 1
    layers_per_epoch: int | None = None
    layers: int | None = None
    learning_rate: float = 1.0
    layer_decay: float = 1.0


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Another ranker whose probabilities are mixed into the labels of the training lists.

    Attributes:
      run: `none`; `self`, a ranker of the same config, trained first; `trees`, trees alone, grown
        first; or the folder of a trained run, such as one with a cross-encoder. A teacher that is
        trained first is kept in RUN/teacher.
      temperature: Divisor of the teacher's scores; above 1 its probabilities spread over more
        candidates.
      share: Weight of the teacher's probabilities in the labels; the grades have the rest. A list
        without a grade above 0 has the teacher's probabilities only.
    """

    run: str = "none"
    temperature: Positive = 1.0
    share: Kept = 0.5


@dataclasses.dataclass(frozen=True)
class Training:
    """The optimisation.

    Attributes:
      strategy: auto, one_device, mirrored, multi_worker or tpu.
      batch_lists: Lists per step on each replica.
      epochs: Number of epochs, unless training stops early.
      block_lists: How many neighbouring lists of the file stay together when the order is shuffled.
        Where neighbours share items, a batch of them has fewer items to encode.
      steps_per_epoch: Steps per epoch, which ends with a validation and a checkpoint; None for one
        pass over the training lists.
      learning_rate: Peak of the schedule: linear warm-up, then cosine decay to zero.
      warmup: Share of all steps spent warming up.
      weight_decay: Decoupled weight decay of AdamW.
      clip_norm: Bound on the global norm of the gradient.
      ema: Decay of an exponential moving average of the weights, such as 0.99. The average is then
        validated, selected and exported; 0 for the weights themselves. The decay is lower in the
        first steps, so that the average soon forgets the initial weights. Statistics of
        BatchNormalization are averages already and stay as they are.
      patience: Validations without a better value of `select_metric` before training stops.
      tasks: The objectives by name; without any, one on `grade` under `loss`.
      task_weights: `fixed`, each task's own `weight`; or `uncertainty`, learned.
      select_by: The label whose validation metric selects the best weights. Null means the first
        task's, or `grade` without tasks.
      select_metric: That metric: ndcg, mrr, map, precision or recall, with `@k` for a cutoff. For
        all but NDCG, a grade of at least `evaluation.relevant_grade` is relevant.
      popularity_weight: The power in the weight of each row, (1 + training events of the
        item)^−power, with mean 1 and a cap; 0 for equal weights.
      pseudo_weight: Weight of the rows whose grade a ranker gave (the label `pseudo`).
      teacher: See Teacher; labels become probabilities, which softmax_loss learns.
      mixed_precision: float32, mixed_bfloat16 or mixed_float16.
      deterministic: Makes every TensorFlow op deterministic (slower).
      fine_tune: How encoders learn, by feature name or by kind, and the cross-encoder's BERT under
        `cross`. An encoder without an entry learns like the rest of the model, and a BERT that
        starts from pretrained weights at 0.06 of the learning rate.
    """

    strategy: str = "auto"
    batch_lists: Count = 16
    epochs: Count = 10
    block_lists: Count = 1
    steps_per_epoch: Count | None = None
    loss: Loss = Loss()
    tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    task_weights: str = "fixed"
    select_by: str | None = None
    select_metric: str = "ndcg@10"
    learning_rate: Positive = 1e-3
    warmup: Share = 0.05
    weight_decay: Weight = 1e-4
    clip_norm: Positive = 1.0
    ema: Dropped = 0.0
    patience: Count = 3
    popularity_weight: Weight = 0.0
    pseudo_weight: Weight = 1.0
    teacher: Teacher = Teacher()
    mixed_precision: str = "float32"
    deterministic: bool = False
    fine_tune: Mapping[str, FineTune] = dataclasses.field(default_factory=dict)
