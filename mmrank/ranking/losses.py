"""Every TF-Ranking Keras loss by name, with its lambda weight, blind to padding."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmrank.ranking._library import losses

LAMBDA_WEIGHTS: dict[str, type] = {
    "dcg_lambda_weight": losses.DCGLambdaWeight,
    "ndcg_lambda_weight": losses.NDCGLambdaWeight,
    "ndcg_lambda_weight_v2": losses.NDCGLambdaWeightV2,
    "precision_lambda_weight": losses.PrecisionLambdaWeight,
    "label_diff_lambda_weight": losses.LabelDiffLambdaWeight,
    "list_mle_lambda_weight": losses.ListMLELambdaWeight,
    "yeti_dcg_lambda_weight": losses.YetiDCGLambdaWeight,
}
# Losses that draw at random in every step: Gumbel noise, the order of equal grades, permutations.
DRAWING_LOSSES = frozenset(
    {
        "gumbel_approx_ndcg_loss",
        "yeti_logistic_loss",
        "list_mle_loss",
        "coupled_rankdistil_loss",
    }
)
# Losses over logits of examination and relevance, or of several models, see `PositionTower`.
EM_LOSSES: dict[str, type[tf.keras.losses.Loss]] = {
    "click_em_loss": losses.ClickEMLoss,
    "mixture_em_loss": losses.MixtureEMLoss,
}
# TF-Ranking multiplies these weights of pairs by the padded length of the list.
_BY_LENGTH = frozenset(
    {
        "dcg_lambda_weight",
        "ndcg_lambda_weight",
        "ndcg_lambda_weight_v2",
        "yeti_dcg_lambda_weight",
    }
)
ORDINAL, LIST_MLE, YETI = "ordinal_loss", "list_mle_loss", "yeti_logistic_loss"
LIST_MLE_WEIGHT = "list_mle_lambda_weight"


def loss_names() -> tuple[str, ...]:
    """The names of the losses over scores, as TF-Ranking lists them."""
    return tuple(sorted(losses.RankingLossKey.all_keys()))


def make_loss(
    name: str,
    options: Mapping[str, Any] | None = None,
    lambda_weight: str | None = None,
    lambda_options: Mapping[str, Any] | None = None,
) -> MaskedLoss:
    """The loss of that name over labels [B, L] (−1 for padding) and scores [B, L].

    Args:
      name: One of `loss_names()` or of `EM_LOSSES`, whose scores are [B, L, 2] or [B, L, M].
      options: Its further arguments, such as `temperature`.
      lambda_weight: One of `LAMBDA_WEIGHTS`; only pairwise and some listwise losses take one.
      lambda_options: Its arguments, such as `topn`. The discount of `list_mle_lambda_weight` is
        that of DCG.

    Raises:
      ValueError: An unknown name, or an option that the loss does not take.
    """
    known = (*loss_names(), *EM_LOSSES)
    if name not in known:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(known)}")
    # A candidate has one score, so that its ordinal loss has one threshold: grade 1 and more.
    required = {"ordinal_size": 1} if name == ORDINAL else {}
    # TF-Ranking swallows any argument, so a mistyped one would go unnoticed.
    taken = _arguments(EM_LOSSES.get(name) or type(losses.get(name, **required)))
    if name in EM_LOSSES:  # they know these words, and make nothing of them
        taken -= {"lambda_weight", "temperature"}
    _only_known(options, taken - {"lambda_weight", "ordinal_size"}, f"loss {name}")
    arguments: dict[str, Any] = {**required, **(options or {})}
    if lambda_weight is not None:
        if lambda_weight not in LAMBDA_WEIGHTS:
            raise ValueError(
                f"unknown lambda weight {lambda_weight!r}; known: {', '.join(LAMBDA_WEIGHTS)}"
            )
        if "lambda_weight" not in taken:
            raise ValueError(f"loss {name}: takes no lambda weight, yet has {lambda_weight!r}")
        weight = LAMBDA_WEIGHTS[lambda_weight]
        _only_known(lambda_options, _arguments(weight), lambda_weight)
        if lambda_weight == "precision_lambda_weight" and "topn" not in (lambda_options or {}):
            raise ValueError(f"{lambda_weight}: needs the option topn, the cutoff of the precision")
        # TF-Ranking has no discount of its own for it, and a config cannot hold a function.
        discount = {"rank_discount_fn": _discount} if lambda_weight == LIST_MLE_WEIGHT else {}
        arguments["lambda_weight"] = weight(**discount | dict(lambda_options or {}))
    elif lambda_options:
        raise ValueError(f"loss {name}: lambda_options without a lambda_weight")
    try:
        make = EM_LOSSES.get(name) or functools.partial(losses.get, name)
        inner = make(reduction=tf.keras.losses.Reduction.NONE, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss {name}: {error}") from error
    # Without a lambda weight Yeti takes its own, yeti_dcg_lambda_weight.
    by_length = lambda_weight in _BY_LENGTH or (name == YETI and lambda_weight is None)
    return MaskedLoss(inner, name, by_length, discounted=lambda_weight == LIST_MLE_WEIGHT)


class MaskedLoss(tf.keras.losses.Loss):
    """The mean of a TF-Ranking loss over lists, or over the real candidates of a batch.

    Of scores [B, L, K] it is the mean of the losses of all K members.

    TF-Ranking's Keras losses give a value a list, or a value a candidate where they are pairwise
    or pointwise. The latter it averages over all B · L places, so that the same list weighs less
    the more it is padded. Here they are summed and divided by the number of real candidates:
    TF-Ranking's own value for a batch without padding.

    Args:
      loss: A TF-Ranking loss without reduction.
      name: Its name.
      by_length: Whether its lambda weight scales pairs by the padded length, which is undone in
        favour of the real one.
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

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss, a scalar.

        Args:
          y_true, y_pred: As for `call`.
          sample_weight: Weights [B, L] of the candidates, as TF-Ranking takes them. A pointwise
            loss weighs candidates, a pairwise one the better of two, a softmax the labels, and
            any other listwise loss its lists by the weights of their labels. Sums are divided by
            numbers of candidates, not by sums of weights.
        """
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        return tf.reduce_mean(self.per_list(y_true, y_pred, sample_weight))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Values [B] whose mean is the loss. Labels are −1 for padding."""
        return self.per_list(y_true, y_pred)

    def per_list(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Values [B] whose mean is the loss; `weights` as `sample_weight` of the loss."""
        if len(y_pred.shape) == 3 and self.name not in EM_LOSSES:
            count = y_pred.shape[-1]
            each = tf.reshape(tf.transpose(y_pred, [2, 0, 1]), [-1, tf.shape(y_pred)[1]])
            labels = tf.tile(y_true, [count, 1])
            rows = None if weights is None else tf.tile(weights, [count, 1])
            return tf.reduce_mean(tf.reshape(self.per_list(labels, each, rows), [count, -1]), 0)
        values = self._loss(y_true, y_pred[..., None] if self.name == ORDINAL else y_pred, weights)
        real = tf.cast(y_true >= 0, values.dtype)
        if self.name == LIST_MLE:
            # It places the padding last, each place at the cost of a choice among those left.
            length = tf.shape(y_true)[1]
            ranks = tf.cast(tf.range(1, length + 1), values.dtype)
            costs = tf.math.log(tf.cast(length, values.dtype) - ranks + 1.0)
            if self._discounted:
                costs *= _discount(ranks)
            padding = ranks > tf.reduce_sum(real, -1, keepdims=True)
            return tf.reshape(values, [-1]) - tf.reduce_sum(tf.where(padding, costs, 0.0), -1)
        if values.shape.rank == 1 or values.shape[-1] == 1:
            return tf.reshape(values, [-1])
        if self._by_length:
            # A loss that draws has the draws of a list next to each other.
            draws = tf.shape(values)[0] // tf.shape(real)[0]
            values *= tf.repeat(tf.reduce_mean(real, -1, keepdims=True), draws, 0)
        lists = tf.cast(tf.shape(y_true)[0], values.dtype)
        return tf.reduce_sum(values, -1) * lists / tf.maximum(tf.reduce_sum(real), 1.0)


def _discount(ranks: tf.Tensor) -> tf.Tensor:
    """What a place counts in DCG, by its rank from 1 on."""
    return tf.math.log(2.0) / tf.math.log1p(ranks)


def _arguments(cls: type) -> set[str]:
    """What a class can be told, its bases' constructors included where it passes the rest on."""
    names: set[str] = set()
    for base in cls.__mro__:
        own = vars(base).get("__init__")
        if own is not None and base.__module__.startswith("tensorflow_ranking"):
            names |= set(inspect.signature(own).parameters)
    return names - {"self", "kwargs", "args", "reduction", "name", "ragged"}


def _only_known(options: Mapping[str, Any] | None, known: set[str], where: str) -> None:
    for key in options or {}:
        if key not in known:
            raise ValueError(f"{where}: no option {key!r}; its options: {', '.join(sorted(known))}")
