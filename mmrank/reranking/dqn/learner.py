"""Updates of a Q-network: double Q-learning on drawn transitions, and imitation before it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmrank.reranking.dqn.network import QNetwork
from mmrank.reranking.dqn.options import DQNOptions
from mmrank.reranking.dqn.replay import observations_of
from mmrank.reranking.moves import FINISH
from mmrank.tracing import traced

__all__ = ["Learner", "imitation_loss", "td_errors"]

Inputs = Mapping[str, tf.Tensor]


def td_errors(online: QNetwork, target: QNetwork, batch: Inputs) -> tf.Tensor:
    """Errors [B] of double Q-learning: reward + discount · target(after, best) − online(before).

    The online network chooses the best action after, and the target network values it.

    Source: Van Hasselt, Guez and Silver, "Deep reinforcement learning with double Q-learning"
      (AAAI 2016), equation 4.

    Args:
      online, target: The networks.
      batch: Columns of `Replay.draw`.
    """
    before, after = observations_of(batch, "before"), observations_of(batch, "after")
    best = tf.argmax(online(after), -1)
    value = tf.gather(target(after), best, batch_dims=1)
    # An ended episode has no open value; 0 · CLOSED is 0 too, since CLOSED is finite.
    aim = tf.stop_gradient(batch["reward"] + batch["discount"] * value)
    return aim - tf.gather(online(before, training=True), batch["action"], batch_dims=1)


def imitation_loss(values: tf.Tensor, opened: tf.Tensor, margin: float) -> tf.Tensor:
    """Mean squared distance of open values from 0 for finishing and −margin for moves, a scalar.

    A network with these values keeps the ranker's order. Finishing is worth 0 in every state, since
    rewards are differences.

    Source: Hester et al., "Deep Q-learning from demonstrations" (AAAI 2018), for a margin between
      the demonstrated action, here to keep the order, and the others. As a regression it also
      holds the values near those that rewards can have.

    Args:
      values: [B, k].
      opened: Which actions are open, [B, k].
      margin: The margin.

    Example:
      >>> import tensorflow as tf
      >>> values, opened = tf.constant([[1.0, 1.5, 9.0]]), tf.constant([[1, 1, 0]])
      >>> float(imitation_loss(values, opened, margin=0.5))  # (1 + 4) / 2
      2.5
    """
    wanted = tf.one_hot(FINISH, tf.shape(values)[1], on_value=0.0, off_value=-margin)
    weight = tf.cast(opened, values.dtype)
    return tf.reduce_sum(weight * tf.square(values - wanted)) / tf.reduce_sum(weight)


class Learner:
    """The networks, their optimizer and the updates.

    Args:
      options: The options.
      updates: Number of updates after imitation; the learning rate falls to zero over it.
    """

    def __init__(self, options: DQNOptions, updates: int):
        size = {"width": options.width, "heads": options.heads, "layers": options.layers}
        self.online, self.target = QNetwork(**size), QNetwork(**size)
        rate = tf.keras.optimizers.schedules.CosineDecay(
            options.learning_rate, updates + options.imitation
        )
        self.optimizer = tf.keras.optimizers.Adam(rate, global_clipnorm=10.0)
        self._options = options
        self._update, self._imitate = traced(self._updated), traced(self._imitated)

    def build(self, observations: Mapping[str, np.ndarray]) -> None:
        """Makes the weights, those of the target equal to those of the online network."""
        self.online(observations)
        self.target(observations)
        self.optimizer.build(self.online.trainable_variables)
        self.copy()

    def copy(self) -> None:
        """Copies the online network into the target network."""
        self.target.set_weights(self.online.get_weights())

    def update(self, batch: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Makes one update and returns the errors before it, [B]."""
        return np.asarray(self._update(batch, weights))

    def imitate(self, observations: Mapping[str, np.ndarray]) -> float:
        """Makes one update of imitation and returns its loss before it."""
        return float(self._imitate(observations))

    def _updated(self, batch: Inputs, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            errors = td_errors(self.online, self.target, batch)
            # Huber's loss with a threshold of 1.
            small = tf.minimum(tf.abs(errors), 1.0)
            loss = tf.reduce_mean(weights * small * (tf.abs(errors) - 0.5 * small))
        self._apply(tape, loss)
        return errors

    def _imitated(self, observations: Inputs) -> tf.Tensor:
        with tf.GradientTape() as tape:
            values = self.online(observations, training=True)
            loss = imitation_loss(values, observations["actions"], self._options.margin)
        self._apply(tape, loss)
        return loss

    def _apply(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        variables = self.online.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
