"""TF-Ranking's Keras losses, made so that padding does not affect them, and their options."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from mmrank.ranges import Count, Positive, Seed, Weight
from mmrank.ranking._library import losses
from mmrank.ranking.list_loss import BatchLoss

ORDINAL, LIST_MLE, YETI = "ordinal_loss", "list_mle_loss", "yeti_logistic_loss"
# Losses over logits of examination and relevance, or of several models, see `PositionTower`.
EM_LOSSES: dict[str, type[tf.keras.losses.Loss]] = {
    "click_em_loss": losses.ClickEMLoss,
    "mixture_em_loss": losses.MixtureEMLoss,
}


@dataclasses.dataclass(frozen=True)
class Tempered:
    """Options of most losses.

    Attributes:
      temperature: Divisor of the scores.
    """

    temperature: Positive = 1.0


@dataclasses.dataclass(frozen=True)
class Approximate:
    """Options of the losses that approximate a metric.

    Attributes:
      temperature: Divisor of the differences of scores; lower is closer to the metric, with larger
        gradients.
    """

    temperature: Positive = 0.1


@dataclasses.dataclass(frozen=True)
class Gumbel:
    """Options of losses over scores with Gumbel noise.

    Attributes:
      temperature: As for `Tempered`.
      sample_size: How many times noise is drawn for each list.
      gumbel_temperature: Factor on the noise.
      seed: Seed of the noise; null for TensorFlow's own.
    """

    temperature: Positive = 1.0
    sample_size: Count = 8
    gumbel_temperature: Weight = 1.0
    seed: Seed | None = None


@dataclasses.dataclass(frozen=True)
class ApproximateGumbel(Gumbel):
    """Options of `gumbel_approx_ndcg_loss`: as for `Gumbel` and `Approximate`."""

    temperature: Positive = 0.1


@dataclasses.dataclass(frozen=True)
class Calibrated(Tempered):
    """Options of `calibrated_softmax_loss`.

    Attributes:
      virtual_label: Label of a virtual candidate with score 0.
    """

    virtual_label: Weight = 0.0


@dataclasses.dataclass(frozen=True)
class Distilled(Tempered):
    """Options of `coupled_rankdistil_loss`.

    Attributes:
      sample_size: How many permutations are drawn for each list.
      topk: How many positions of a permutation count; null for all.
    """

    sample_size: Count = 8
    topk: Count | None = None


@dataclasses.dataclass(frozen=True)
class Ordinal:
    """Options of `ordinal_loss`. A candidate has one score, so there is one threshold: grade 1.

    Attributes:
      use_fraction_label: Whether the part of a label after the decimal point counts.
    """

    use_fraction_label: bool = False


@dataclasses.dataclass(frozen=True)
class ClickEM:
    """Options of `click_em_loss`: factors on the losses of examination and relevance."""

    exam_loss_weight: Weight = 1.0
    rel_loss_weight: Weight = 1.0


@dataclasses.dataclass(frozen=True)
class MixtureEM:
    """Options of `mixture_em_loss`.

    Attributes:
      alpha: How sharply a list is assigned to one of the models.
    """

    alpha: Weight = 1.0


def library_loss(
    *, name: str, lambda_weight: Any = None, by_length: bool = False, **options: Any
) -> MaskedLoss:
    """Returns the TF-Ranking loss of a name, averaged as `MaskedLoss` says.

    Args:
      name: A value of `tfr.keras.losses.RankingLossKey`, or a name in `EM_LOSSES`.
      lambda_weight: A lambda weight of TF-Ranking, or None.
      by_length: As `MaskedLoss` takes it.
      **options: Further arguments of the loss.
    """
    if lambda_weight is not None:
        options["lambda_weight"] = lambda_weight
    if name == ORDINAL:
        options["ordinal_size"] = 1
    unreduced = tf.keras.losses.Reduction.NONE
    if name in EM_LOSSES:
        inner = EM_LOSSES[name](reduction=unreduced, **options)
    else:
        inner = losses.get(name, reduction=unreduced, **options)
    # Without a lambda weight, Yeti uses yeti_dcg_lambda_weight.
    by_length = by_length or (name == YETI and lambda_weight is None)
    discounted = isinstance(lambda_weight, losses.ListMLELambdaWeight)
    return MaskedLoss(inner, name, by_length, discounted)


class MaskedLoss(BatchLoss):
    """The mean of a TF-Ranking loss over lists, or over the real candidates of a batch.

    TF-Ranking's Keras losses return one value per list, or one per candidate if they are pairwise
    or pointwise. TF-Ranking averages the latter over all B · L slots, so that more padding gives
    the same list less weight. Here they are summed and divided by the number of real candidates,
    which is TF-Ranking's own value for a batch without padding.

    A pointwise loss weights candidates, a pairwise loss the better one of two, a softmax the
    labels, and any other listwise loss its lists by the weights of their labels. Sums are divided
    by numbers of candidates, not by sums of weights.

    Args:
      loss: A TF-Ranking loss without reduction.
      name: Its name.
      by_length: Whether its lambda weight multiplies pairs by the padded length; the real length is
        then used instead.
      discounted: Whether its lambda weight is that of ListMLE.
    """

    def __init__(
        self,
        loss: tf.keras.losses.Loss,
        name: str,
        by_length: bool = False,
        discounted: bool = False,
    ):
        super().__init__(name=name)
        self._loss, self._by_length, self._discounted = loss, by_length, discounted
        self.reads_logits = name in EM_LOSSES

    def _values(self, y_true: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        values = self._loss(y_true, y_pred[..., None] if self.name == ORDINAL else y_pred, weights)
        real = tf.cast(y_true >= 0, values.dtype)
        if self.name == LIST_MLE:
            # The loss ranks padding last; each padded rank costs a choice among those left.
            length = tf.shape(y_true)[1]
            ranks = tf.cast(tf.range(1, length + 1), values.dtype)
            costs = tf.math.log(tf.cast(length, values.dtype) - ranks + 1.0)
            if self._discounted:
                costs *= dcg_discount(ranks)
            padding = ranks > tf.reduce_sum(real, -1, keepdims=True)
            return tf.reshape(values, [-1]) - tf.reduce_sum(tf.where(padding, costs, 0.0), -1)
        if values.shape.rank == 1 or values.shape[-1] == 1:
            return tf.reshape(values, [-1])
        if self._by_length:
            # In a loss that draws at random, the draws of a list are adjacent.
            draws = tf.shape(values)[0] // tf.shape(real)[0]
            values *= tf.repeat(tf.reduce_mean(real, -1, keepdims=True), draws, 0)
        lists = tf.cast(tf.shape(y_true)[0], values.dtype)
        return tf.reduce_sum(values, -1) * lists / tf.maximum(tf.reduce_sum(real), 1.0)


def dcg_discount(ranks: tf.Tensor) -> tf.Tensor:
    """The discount of DCG by rank, from 1 on."""
    return tf.math.log(2.0) / tf.math.log1p(ranks)
