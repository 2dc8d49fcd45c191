"""Generalised matrix factorisation as a Keras tower, and its training with drawn negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from mmrank.tracing import traced

BATCH_USERS = 16
LEARNING_RATE = 0.01
DECAY = 1e-4


class GmfTower(tf.keras.layers.Layer):
    """Logits [P] of pairs: h · (p ⊙ q), p the user's vector and q the candidate's.

    A user's vector is the weighted sum of learned vectors of the items of the history, divided by
    the root of the sum of squared weights, so that a user never seen in training has one too. If
    the candidate itself is among these items, it is left out of the sum.

    Args:
      items: Number of items.
      factors: F.
      seed: Seed of the random initial weights.

    Source: He et al. 2017, "Neural collaborative filtering", equations 8 and 9; the user as the
      sum of items as in Kabbur et al. 2013, "FISM", equation 2.
    """

    def __init__(self, items: int, factors: int, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.arguments = {"items": items, "factors": factors, "seed": seed}

    def build(self, input_shape: Any) -> None:
        items, factors = self.arguments["items"], self.arguments["factors"]
        seed = self.arguments["seed"]
        start = [tf.keras.initializers.RandomNormal(0.0, 0.1, seed=seed + n) for n in range(2)]
        self.met = self.add_weight("met", [items, factors], initializer=start[0])
        self.offered = self.add_weight("offered", [items, factors], initializer=start[1])
        self.output_weight = self.add_weight("output_weight", [factors], initializer="ones")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Logits of pairs of some users.

        Args:
          inputs: The events' items [E] int32, weights [E] and users [E] int32 ascending; the
            number of users, a scalar; the pairs' users [P], items [P], and the weight of the
            pair's own event in the history [P], 0 where there is none.
        """
        items, weights, users, count, pair_users, pair_items, own = inputs
        met = tf.gather(self.met, items) * weights[:, None]
        total = tf.math.unsorted_segment_sum(met, users, count)
        squares = tf.math.unsorted_segment_sum(weights**2, users, count)
        rest = tf.gather(total, pair_users) - own[:, None] * tf.gather(self.met, pair_items)
        size = tf.gather(squares, pair_users) - own**2
        user = rest * tf.math.rsqrt(tf.maximum(size, 1e-6))[:, None]
        user = tf.where((size > 1e-6)[:, None], user, 0.0)
        product = user * tf.gather(self.offered, pair_items)
        return tf.linalg.matvec(product, self.output_weight)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.arguments


def train_gmf(
    matrix: sp.csr_matrix,
    *,
    factors: int,
    epochs: int,
    negatives: int,
    seed: int,
    start: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Trains a tower to distinguish met items from drawn ones; returns its weights.

    The weights are named met, offered and output.

    Args:
      matrix: Weights of events [users, items].
      factors: F.
      epochs: Passes over the users.
      negatives: Items drawn at random for each item that was met.
      seed: Seed of the initial weights, of the order and of the draws.
      start: Weights of an earlier tower to continue from.
    """
    tower = GmfTower(matrix.shape[1], factors, seed)
    tower.build(None)
    weights = {"met": tower.met, "offered": tower.offered, "output": tower.output_weight}
    for name, values in (start or {}).items():
        weights[name].assign(values)
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(tower.trainable_variables)
    generator = np.random.default_rng(seed)

    def update(*inputs: tf.Tensor) -> None:
        *fed, labels = inputs
        with tf.GradientTape() as tape:
            logits = tower(tuple(fed))
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
            vectors = [tf.gather(tower.offered, fed[5]), tf.gather(tower.met, fed[0])]
            decay = sum(tf.reduce_sum(v**2) for v in vectors) / tf.cast(tf.size(labels), tf.float32)
            total = tf.reduce_mean(loss) + DECAY * decay
        gradients = tape.gradient(total, tower.trainable_variables)
        dense = [tf.convert_to_tensor(g) for g in gradients]
        optimizer.apply_gradients(zip(dense, tower.trainable_variables, strict=True))

    step = traced(update, _STEP)
    active = np.flatnonzero(
        np.diff(matrix.indptr) > 1
    )  # with a single event, nothing is left once the candidate is taken out
    for _ in range(epochs):
        order = generator.permutation(active)
        for batch in np.split(order, range(BATCH_USERS, len(order), BATCH_USERS)):
            if len(batch):
                step(*_batch(matrix[batch], negatives, generator))
    return {name: variable.numpy() for name, variable in weights.items()}


_STEP = [
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([], tf.int32),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([None], tf.float32),
]


def _batch(
    rows: sp.csr_matrix, negatives: int, generator: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """A tower's inputs and labels: every event, and up to `negatives` drawn items for each."""
    users = np.repeat(np.arange(rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
    items = rows.indices.astype(np.int32)
    weights = rows.data.astype(np.float32)
    of = np.repeat(users, negatives)
    drawn = generator.integers(rows.shape[1], size=len(of), dtype=np.int32)
    new = ~np.isin(of.astype(np.int64) * rows.shape[1] + drawn, users * rows.shape[1] + items)
    of, drawn = of[new], drawn[new]
    return (
        items,
        weights,
        users,
        np.array(rows.shape[0], np.int32),
        np.concatenate([users, of]),
        np.concatenate([items, drawn]),
        np.concatenate([weights, np.zeros(len(of), np.float32)]),
        np.repeat(np.array([1, 0], np.float32), [len(items), len(of)]),
    )
