"""What learns from logged moves: `AGENTS` lists them by name."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import tensorflow as tf

from mmrank.ranges import Count, Range
from mmrank.registry import Entry, Registry
from mmrank.reranking.dqn.learner import td_errors
from mmrank.reranking.dqn.replay import observations_of
from mmrank.reranking.offline.network import network_of
from mmrank.reranking.offline.options import OfflineOptions
from mmrank.tracing import traced

__all__ = ["AGENTS", "Agent", "CQLOptions", "Cloning", "ConservativeQ", "conservatism"]

Inputs = Mapping[str, tf.Tensor]


def conservatism(values: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """The softmax maximum of the open values less the value of the logged action, [B].

    log Σ exp Q(s, a) − Q(s, logged action), which is never below 0.

    Source: Kumar et al., "Conservative Q-learning for offline reinforcement learning" (NeurIPS
      2020), equation 4, CQL(H).

    Args:
      values: Values of the actions, those that are not open far below the others, [B, k].
      actions: The logged actions, [B] int.

    Example:
      >>> import tensorflow as tf
      >>> values, actions = tf.constant([[1.0, 1.0, -1e9]]), tf.constant([1])
      >>> round(float(conservatism(values, actions)[0]), 3)  # log 2
      0.693
    """
    logged = tf.gather(values, actions, batch_dims=1)
    return tf.reduce_logsumexp(values, -1) - logged


class Agent(abc.ABC):
    """A network that learns from batches of `Transitions`.

    Args:
      learning: The options that all agents have.
      most_moves: Moves of an episode; None for as many as any order of the page may need.

    Attributes:
      network: The network.
      optimizer: Its optimizer.
      kept: What a checkpoint holds.
    """

    def __init__(self, learning: OfflineOptions, most_moves: int | None):
        self.network = network_of(learning, most_moves)
        rate = tf.keras.optimizers.schedules.CosineDecay(learning.learning_rate, learning.updates)
        self.optimizer = tf.keras.optimizers.Adam(rate, global_clipnorm=10.0)
        self.kept: dict[str, Any] = {"online": self.network, "optimizer": self.optimizer}
        self._update = traced(self._updated)

    def build(self, batch: Mapping[str, np.ndarray]) -> None:
        """Makes the weights."""
        self.network(observations_of(batch, "before"))
        self.optimizer.build(self.network.trainable_variables)

    def update(self, batch: Mapping[str, np.ndarray], done: int) -> float:
        """Makes one update and returns its loss.

        Args:
          batch: As from `Transitions.batch`.
          done: Number of updates before it.
        """
        return float(self._update(batch))

    @abc.abstractmethod
    def loss(self, batch: Inputs) -> tf.Tensor:
        """Returns the loss, a scalar."""

    def _updated(self, batch: Inputs) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self.loss(batch)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


@dataclasses.dataclass(frozen=True)
class CQLOptions:
    """Options of `ConservativeQ`.

    Attributes:
      alpha: Weight of the regulariser that holds the values of actions down that were not logged.
      target: Updates between two copies into the target network.
    """

    alpha: Annotated[float, Range(0)] = 0.005
    target: Count = 100


class ConservativeQ(Agent):
    """Conservative double Q-learning: errors² + alpha · `conservatism`.

    The move that ends an episode is learned from what each position earned, Σ (earned − its
    value)², which has the same mean as the reward of the page and much less noise. A move before
    it has the error of double Q-learning.

    Source: Kumar et al., "Conservative Q-learning for offline reinforcement learning" (NeurIPS
      2020), equation 4; Van Hasselt, Guez and Silver, "Deep reinforcement learning with double
      Q-learning" (AAAI 2016).

    Args:
      learning, most_moves: As for `Agent`.
      alpha, target: See `CQLOptions`.
    """

    def __init__(
        self,
        learning: OfflineOptions,
        most_moves: int | None,
        alpha: float = CQLOptions.alpha,
        target: int = CQLOptions.target,
    ):
        super().__init__(learning, most_moves)
        self.target = network_of(learning, most_moves)
        self._alpha, self._every = alpha, target
        self.kept["target"] = self.target

    def build(self, batch: Mapping[str, np.ndarray]) -> None:
        super().build(batch)
        self.target(observations_of(batch, "before"))
        self.target.set_weights(self.network.get_weights())

    def update(self, batch: Mapping[str, np.ndarray], done: int) -> float:
        if done % self._every == 0:
            self.target.set_weights(self.network.get_weights())
        return super().update(batch, done)

    def loss(self, batch: Inputs) -> tf.Tensor:
        values, positions = self.network.parts(observations_of(batch, "before"), training=True)
        after = tf.gather(positions, batch["action"], batch_dims=1)
        ended = batch["discount"] == 0
        errors = tf.reduce_sum(tf.square(batch["earned"] - after), -1)
        going = {name: tf.boolean_mask(column, ~ended) for name, column in batch.items()}
        online: Any = self.network
        bootstrapped = tf.square(td_errors(online, self.target, going))
        count = tf.cast(tf.size(ended), tf.float32)
        total = tf.reduce_sum(tf.where(ended, errors, 0.0)) + tf.reduce_sum(bootstrapped)
        return total / count + self._alpha * tf.reduce_mean(conservatism(values, batch["action"]))


class Cloning(Agent):
    """Behaviour cloning: the cross-entropy of the logged actions, with values as logits."""

    def loss(self, batch: Inputs) -> tf.Tensor:
        values = self.network(observations_of(batch, "before"), training=True)
        # The cross-entropy of a softmax is the same formula.
        return tf.reduce_mean(conservatism(values, batch["action"]))


AGENTS = Registry("agent", {"cql": Entry(ConservativeQ, CQLOptions), "cloning": Entry(Cloning)})
