"""The optimizer: AdamW with warm-up and cosine decay, where variables may have their own pace."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

SPARED = ("bias", "gamma", "beta", "absent", "log_variance")


@dataclasses.dataclass(frozen=True)
class Pace:
    """When a variable begins to learn, and how fast.

    Attributes:
      first_step: Optimizer steps before its first update.
      rate: Factor on the learning rate.
    """

    first_step: int = 0
    rate: float = 1.0


class PacedAdamW(tf.keras.optimizers.AdamW):
    """AdamW that updates some variables later and at another rate.

    A variable whose time has not come stays as it is to the last bit: there is no update, no weight
    decay and no momentum, and its gradient is no part of the norm that is clipped. Then it starts
    like a new one: its bias correction counts from its own first step. All variables have their
    moments from the beginning, and the step alone says who learns, so that a checkpoint fits at
    any time.

    Args:
      learning_rate: A rate or a schedule over the steps.
      paces: Variables with their paces; any other variable learns from the start at rate 1.
      **kwargs: As for `tf.keras.optimizers.AdamW`.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def __init__(
        self, learning_rate: Any, paces: Sequence[tuple[tf.Variable, Pace]] = (), **kwargs: Any
    ):
        super().__init__(learning_rate, **kwargs)
        self._paces = {self._var_key(variable): pace for variable, pace in paces}

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, tf.Variable]], *args: Any, **kwargs: Any
    ) -> tf.Variable:
        masked = [(self._masked(g, v), v) for g, v in grads_and_vars]
        return super().apply_gradients(masked, *args, **kwargs)

    def _masked(self, gradient: Any, variable: tf.Variable) -> Any:
        """The gradient, all zeros before the variable's first step."""
        pace = self._paces.get(self._var_key(variable))
        if gradient is None or pace is None or not pace.first_step:
            return gradient
        begun = self.iterations >= pace.first_step
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.where(begun, gradient.values, tf.zeros_like(gradient.values))
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return tf.where(begun, gradient, tf.zeros_like(gradient))

    def _use_weight_decay(self, variable: tf.Variable) -> bool:
        # Keras would decay at the common rate; `update_step` does it at the variable's own.
        return self._var_key(variable) not in self._paces and super()._use_weight_decay(variable)

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        key = self._var_key(variable)
        pace = self._paces.get(key)
        if pace is None:
            super().update_step(gradient, variable)
            return
        dtype = variable.dtype
        step = tf.cast(self.iterations - pace.first_step + 1, dtype)
        rate = tf.cast(self.learning_rate, dtype) * pace.rate * tf.cast(step > 0, dtype)
        step = tf.maximum(step, 1)
        first, second = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        alpha = rate * tf.sqrt(1 - tf.pow(second, step)) / (1 - tf.pow(first, step))
        index = self._index_dict[key]
        mean, square = self._momentums[index], self._velocities[index]
        gradient = tf.convert_to_tensor(gradient)  # rows of a table that nobody named have zeros
        if super()._use_weight_decay(variable):
            variable.assign_sub(variable * tf.cast(self.weight_decay, dtype) * rate)
        mean.assign_add((gradient - mean) * (1 - first))
        square.assign_add((tf.square(gradient) - square) * (1 - second))
        variable.assign_sub(mean * alpha / (tf.sqrt(square) + self.epsilon))


def make_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup: float,
    weight_decay: float,
    clip_norm: float,
    paces: Sequence[tuple[tf.Variable, Pace]] = (),
) -> tf.keras.optimizers.Optimizer:
    """AdamW whose rate climbs to `learning_rate`, then falls to zero along a cosine.

    Args:
      learning_rate: The peak.
      steps: Of the whole training.
      warmup: Share of the steps spent climbing.
      weight_decay: Decoupled; biases, norms and embeddings of absence are spared.
      clip_norm: Bound on the gradient's global norm.
      paces: Variables that begin later or learn at another rate.
    """
    rising = max(int(steps * warmup), 1)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(steps - rising, 1),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )
    optimizer = PacedAdamW(schedule, paces, weight_decay=weight_decay, global_clipnorm=clip_norm)
    optimizer.exclude_from_weight_decay(var_names=list(SPARED))
    return optimizer
