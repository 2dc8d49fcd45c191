"""The losses by name: TF-Ranking's Keras losses, and custom losses. Padding affects none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from mmrank.config import ConfigError
from mmrank.ranking.lambda_weights import LAMBDA_WEIGHTS
from mmrank.ranking.library_loss import (
    Approximate,
    ApproximateGumbel,
    Calibrated,
    ClickEM,
    Distilled,
    Gumbel,
    MixtureEM,
    Ordinal,
    Tempered,
    library_loss,
)
from mmrank.ranking.list_loss import BatchLoss
from mmrank.ranking.position_tower import ADD, EXAMINATION, MIXTURE
from mmrank.registry import Entry, NoOptions, Registry

SCORE, VALUE, PROBABILITY = "score", "value", "probability"


@dataclasses.dataclass(frozen=True)
class LossEntry(Entry):
    """A loss, and what training needs to know about it. A custom loss is a `ListLoss`.

    Attributes:
      make: A class or a function that returns the loss, called with the options and `name`.
      lambda_weight: Whether it takes a lambda weight.
      draws: Whether it draws at random in each step: noise, the order of equal grades,
        permutations.
      per_click: Whether it has one term per click, so that a click can be weighted through its
        term by inverse propensity.
      output: What the scores become: a score; a value, which estimates the label; or a
        probability, the sigmoid of the score.
      form: The form of `PositionTower` that makes the logits that it compares with clicks.

    Example:
      >>> LOSSES["softmax_loss"].per_click, LOSSES["mean_squared_loss"].output
      (True, 'value')
      >>> LossEntry(library_loss, Tempered, draws=True).lambda_weight
      False
    """

    make: Callable[..., BatchLoss]
    lambda_weight: bool = False
    draws: bool = False
    per_click: bool = False
    output: str = SCORE
    form: str = ADD


def _weighted(options: type, **traits: Any) -> LossEntry:
    """Returns the entry of a TF-Ranking loss that takes a lambda weight."""
    return LossEntry(library_loss, options, lambda_weight=True, **traits)


LOSSES = Registry(
    "loss",
    {
        "approx_mrr_loss": _weighted(Approximate),
        "approx_ndcg_loss": _weighted(Approximate),
        "calibrated_softmax_loss": _weighted(Calibrated),
        "click_em_loss": LossEntry(library_loss, ClickEM, form=EXAMINATION),
        "coupled_rankdistil_loss": LossEntry(library_loss, Distilled, draws=True),
        "gumbel_approx_ndcg_loss": _weighted(ApproximateGumbel, draws=True),
        "list_mle_loss": _weighted(Tempered, draws=True),
        "mean_squared_loss": LossEntry(library_loss, NoOptions, per_click=True, output=VALUE),
        "mixture_em_loss": LossEntry(library_loss, MixtureEM, form=MIXTURE),
        "ordinal_loss": LossEntry(library_loss, Ordinal),
        "pairwise_hinge_loss": _weighted(Tempered, per_click=True),
        "pairwise_logistic_loss": _weighted(Tempered, per_click=True),
        "pairwise_mse_loss": _weighted(Tempered),
        "pairwise_soft_zero_one_loss": _weighted(Tempered, per_click=True),
        "sigmoid_cross_entropy_loss": LossEntry(
            library_loss, NoOptions, per_click=True, output=PROBABILITY
        ),
        "softmax_loss": _weighted(Tempered, per_click=True),
        "unique_softmax_loss": _weighted(Tempered),
        "yeti_logistic_loss": _weighted(Gumbel, draws=True),
    },
)


def loss_names() -> tuple[str, ...]:
    """The names of the losses over one score of each candidate, in alphabetical order.

    Example:
      >>> "softmax_loss" in loss_names(), "approx_ndcg_loss" in loss_names()
      (True, True)
    """
    return tuple(sorted(name for name, entry in LOSSES.items() if entry.form == ADD))


def make_loss(
    name: str,
    options: Mapping[str, Any] | None = None,
    lambda_weight: str | None = None,
    lambda_options: Mapping[str, Any] | None = None,
    where: str = "",
) -> BatchLoss:
    """The loss of a name over labels [B, L] (−1 for padding) and scores [B, L].

    Args:
      name: A name in `LOSSES`. For one with the form examination or mixture, scores are [B, L, 2]
        or [B, L, M].
      options: Options of the loss, such as `temperature`.
      lambda_weight: A name in `LAMBDA_WEIGHTS`; only pairwise and some listwise losses take one.
      lambda_options: Options of the lambda weight, such as `topn`.
      where: Key of the config that names the loss, which a message begins with.

    Raises:
      ConfigError: A name or an option is unknown, an option is missing, a value is out of its
        range, or the loss takes no lambda weight.

    Example:
      Two candidates of equal score, of which one is relevant, and one slot of padding:

      >>> from math import log
      >>> import tensorflow as tf
      >>> labels, scores = tf.constant([[1.0, 0.0, -1.0]]), tf.constant([[0.0, 0.0, 9.0]])
      >>> abs(float(make_loss("softmax_loss")(labels, scores)) - log(2)) < 1e-6
      True
      >>> make_loss("softmax_loss", {"temprature": 2.0})
      Traceback (most recent call last):
      mmrank.config.ConfigError: ...'temprature'...
    """
    entry, chosen = LOSSES.entry(name, where), LOSSES.options(name, options, where)
    start = f"{where}: " if where else ""
    if lambda_weight is None:
        if lambda_options:
            raise ConfigError(f"{start}loss {name}: lambda_options without a lambda_weight")
        return entry.build(chosen, name=name)
    weight = LAMBDA_WEIGHTS.make(lambda_weight, lambda_options, where=where)
    if not entry.lambda_weight:
        raise ConfigError(f"{start}loss {name}: takes no lambda weight, yet has {lambda_weight!r}")
    by_length = LAMBDA_WEIGHTS[lambda_weight].by_length
    return entry.build(chosen, name=name, lambda_weight=weight, by_length=by_length)
