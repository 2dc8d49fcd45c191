"""The canned networks of TF-Ranking's Keras pipeline, over plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mmrank.ranking._library import models

EXAMPLES, MASK = "examples", "mask"
DNN, GAM = "dnn", "gam"
# TF-Ranking's own 0.999 lags hundreds of steps behind, more steps than small data have.
MOMENTUM = 0.9
Tensors = dict[str, tf.Tensor]


def canned_model(
    network: str,
    width: int,
    hidden: Sequence[int],
    *,
    dropout: float = 0.0,
    batch_norm: bool = True,
    contexts: Sequence[int] = (),
) -> tf.keras.Model:
    """TF-Ranking's model: `examples` [B, L, F] float32 and `mask` [B, L] bool → scores [B, L].

    Masking: padding changes nothing, and has a very low score.

    Args:
      network: `dnn`, a feed-forward network for each candidate, or `gam`, a generalised additive
        model, the sum of one network for each feature.
      width: F, at least 1.
      hidden: Widths of the hidden layers.
      dropout: Share of units dropped after each hidden layer.
      batch_norm: Whether each hidden layer is batch-normalised.
      contexts: Indices of the features that are equal for all candidates of a list, by which `gam`
        weights the others; a `dnn` reads them like any other.

    Raises:
      ValueError: The network is unknown, or a `gam` would read contexts alone.

    Source: Pasumarthi et al. 2019 (TF-Ranking); Zhuang et al. 2021 (neural GAM).

    Example:
      >>> import tensorflow as tf
      >>> model = canned_model("dnn", width=4, hidden=[8])
      >>> model({"examples": tf.zeros([2, 3, 4]), "mask": tf.ones([2, 3], tf.bool)}).shape
      TensorShape([2, 3])
    """
    shared = {
        "activation": tf.nn.relu,
        "use_batch_norm": batch_norm,
        "batch_norm_moment": MOMENTUM,
        "dropout": dropout,
    }
    prepare, scorer = _whole, None
    if network == DNN:
        scorer = models.DNNScorer(hidden_layer_dims=list(hidden), output_units=1, **shared)
    elif network == GAM:
        if len(contexts) >= width:
            raise ValueError(
                "gam: all features are equal within every list; none orders the candidates"
            )
        prepare = _Split(width, contexts)
        scorer = models.GAMScorer(
            example_hidden_layer_dims=list(hidden),
            context_hidden_layer_dims=list(hidden) if contexts else None,
            **shared,
        )
    else:
        raise ValueError(f"unknown network {network!r}; known: {DNN}, {GAM}")
    spec = tf.io.FixedLenFeature([width], tf.float32, [0.0] * width)
    return models.ModelBuilder(
        models.FeatureSpecInputCreator({}, {EXAMPLES: spec}), prepare, scorer, MASK, network
    ).build()


def _whole(
    context: Tensors, examples: Tensors, mask: tf.Tensor
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return context, examples


class _Split:
    """Splits the input of all features into one per feature; those of lists become contexts."""

    def __init__(self, width: int, contexts: Sequence[int]):
        self._width, self._contexts = width, frozenset(contexts)

    def __call__(
        self, context: Tensors, examples: Tensors, mask: tf.Tensor
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        values = examples[EXAMPLES]
        lists = {f"{i:05}": values[:, 0, i : i + 1] for i in sorted(self._contexts)}
        each = {
            f"{i:05}": values[:, :, i : i + 1]
            for i in range(self._width)
            if i not in self._contexts
        }
        return lists, each
