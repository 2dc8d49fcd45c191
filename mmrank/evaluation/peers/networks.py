"""Trains a canned network of TF-Ranking, with early stopping by NDCG@10 on validation lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.evaluation.peers.base import Grown, Ndcg, Part, Peer, Settings, Space, tuned
from mmrank.evaluation.peers.scaling import Scaler
from mmrank.ranking.canned import EXAMPLES, GAM, MASK, canned_model
from mmrank.ranking.labels import masked_labels
from mmrank.ranking.losses import make_loss
from mmrank.tracing import traced
from mmrank.trees.progress import RoundProgress

EPOCHS, PATIENCE = 60, 8
SCORED_LISTS = 256


def fit_network(
    name: str, network: str, space: Space, train: Part, valid: Part, trials: int, seed: int
) -> Peer:
    """Returns the tuned network, with the weights of its best epoch.

    Args:
      name: The peer's name, for the log.
      network: `dnn` or `gam`, as for `canned_model`.
      space: Values of the settings hidden, dropout, batch_norm, transform, loss, learning_rate and
        batch_lists.
      train, valid: The training lists, and the lists by which epochs and settings are chosen.
      trials: How many settings are tried.
      seed: Seed of everything random.
    """
    ndcg = Ndcg(valid.grades, valid.offsets)

    def grow(settings: Settings, seed: int) -> Grown:
        tf.keras.utils.set_random_seed(seed)
        scale = Scaler(train.features, settings["transform"])
        scaled = scale(train.features)
        model = canned_model(
            network,
            scaled.shape[1],
            settings["hidden"],
            dropout=settings["dropout"],
            batch_norm=settings["batch_norm"],
            contexts=list_features(scaled, train.offsets) if network == GAM else (),
        )
        predict = _Scores(model, scale)
        step = _step(model, settings)
        held = scale(valid.features)
        best, weights, at = -1.0, model.get_weights(), 0
        random = np.random.default_rng(seed)
        progress = RoundProgress(name, EPOCHS, "epoch")
        for epoch in range(1, EPOCHS + 1):
            for batch in _batches(scaled, train, settings["batch_lists"], random):
                step(*map(tf.constant, batch))
            figure = ndcg(predict.scaled(held, valid.offsets))
            progress.done(epoch)
            if figure > best:
                best, weights, at = figure, model.get_weights(), epoch
            elif epoch - at >= PATIENCE:
                break
        model.set_weights(weights)
        return Grown(predict, sum(w.nbytes for w in weights), {"epochs": at})

    return tuned(name, space, valid, trials, seed, grow)


def list_features(features: np.ndarray, offsets: np.ndarray) -> list[int]:
    """Returns the columns of the features that are equal for all candidates of each list.

    Args:
      features: [rows, F].
      offsets: [lists + 1].
    """
    first = np.repeat(offsets[:-1], np.diff(offsets))
    return np.flatnonzero((features == features[first]).all(0)).tolist()


class _Scores:
    """Scores of a network: features [rows, F] and offsets [lists + 1] → scores [rows] float64."""

    def __init__(self, model: tf.keras.Model, scale: Scaler):
        self._scale = scale
        self._score = traced(
            lambda examples, mask: model({EXAMPLES: examples, MASK: mask}, training=False),
            _inputs(model),
        )

    def __call__(self, features: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        return self.scaled(self._scale(features), offsets)

    def scaled(self, features: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Returns the scores for features that are scaled already."""
        scores = np.zeros(len(features))
        lists = np.argsort(np.diff(offsets), kind="stable")
        for members in np.split(lists, range(SCORED_LISTS, len(lists), SCORED_LISTS)):
            rows, mask = _padded(members, offsets)
            given = self._score(tf.constant(features[rows]), tf.constant(mask)).numpy()
            scores[rows[mask]] = given[mask]
        return scores


def _inputs(model: tf.keras.Model) -> list[tf.TensorSpec]:
    width = model.input[EXAMPLES].shape[-1]
    return [
        tf.TensorSpec([None, None, width], tf.float32),
        tf.TensorSpec([None, None], tf.bool),
    ]


def _step(model: tf.keras.Model, settings: Settings) -> Any:
    """Returns a function that takes a training step on examples [B, L, F], mask, grades [B, L]."""
    loss = make_loss(settings["loss"])
    # The legacy optimizer needs one op per variable. A gam has hundreds of variables, and the newer
    # optimizer takes a minute to trace them.
    optimizer = tf.keras.optimizers.legacy.Adam(settings["learning_rate"])
    grades = tf.TensorSpec([None, None], tf.float32)

    def step(examples: tf.Tensor, mask: tf.Tensor, grades: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            scores = model({EXAMPLES: examples, MASK: mask}, training=True)
            value = loss(masked_labels(grades, mask), scores)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))

    return traced(step, [*_inputs(model), grades])


def _batches(
    features: np.ndarray, part: Part, lists: int, random: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields every list once, in a random order; a batch is padded to its longest list.

    A batch is features [B, L, F], mask [B, L] and grades [B, L].
    """
    order = random.permutation(len(part.offsets) - 1)
    for members in np.split(order, range(lists, len(order), lists)):
        rows, mask = _padded(members, part.offsets)
        yield features[rows], mask, part.grades[rows].astype(np.float32)


def _padded(lists: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows [B, L] of some lists and their mask [B, L]; padding has row 0."""
    starts, lengths = offsets[lists], offsets[lists + 1] - offsets[lists]
    slots = np.arange(lengths.max(initial=1))
    mask = slots < lengths[:, None]
    return np.where(mask, starts[:, None] + slots, 0), mask
