"""The optimizer: AdamW with warm-up, cosine decay, paces and moving averages of variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

# Variables whose name contains one of these get no weight decay. Entries with a colon match only
# the end of a name, since a feature may be named adapter, for example.
WITHOUT_DECAY = ("bias", "gamma", "beta", "absent", "log_variance", "frequencies:", "adapter:")


@dataclasses.dataclass(frozen=True)
class Pace:
    """When a variable begins to learn, and how fast.

    Attributes:
      first_step: Number of optimizer steps before its first update.
      rate: Factor on the learning rate.

    Example:
      >>> Pace(first_step=100, rate=0.1)  # from step 100 on, at a tenth of the learning rate
      Pace(first_step=100, rate=0.1)
    """

    first_step: int = 0
    rate: float = 1.0


class PacedAdamW(tf.keras.optimizers.AdamW):
    """AdamW that updates some variables later and at another rate.

    Before its first step, a variable stays bitwise unchanged: it has no update, no weight decay and
    no momentum, and its gradient does not count in the norm that is clipped. Then it starts like a
    new variable, and its bias correction counts from its own first step. All variables have their
    moments from the beginning, and only the step determines which variables learn. So a checkpoint
    from any step can be restored.

    If `ema` is above 0, the optimizer also keeps exponential moving averages of the variables. At
    step t, counted from 0, the decay is at most (1 + t) / (10 + t). Otherwise the averages, which
    begin with the first weights, would be dominated by them for a long time.

    Args:
      learning_rate: A rate or a schedule over the steps.
      paces: Variables with their paces; any other variable learns from the start at rate 1.
      ema: Decay of the averages; 0 for none.
      **kwargs: As for `tf.keras.optimizers.AdamW`.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2. For
    averages: Polyak and Juditsky 1992; their beginning is that of `tf.train`'s
    ExponentialMovingAverage with `num_updates`.

    Example:
      A variable that begins to learn at step 1 stays as it is in the first step:

      >>> import tensorflow as tf
      >>> early, late = tf.Variable(1.0), tf.Variable(1.0)
      >>> optimizer = PacedAdamW(0.1, paces=[(late, Pace(first_step=1))], weight_decay=0.0)
      >>> optimizer.build([early, late])
      >>> gradient = tf.constant(1.0)
      >>> _ = optimizer.apply_gradients([(gradient, early), (gradient, late)])
      >>> round(float(early), 4), float(late)
      (0.9, 1.0)
    """

    def __init__(
        self,
        learning_rate: Any,
        paces: Sequence[tuple[tf.Variable, Pace]] = (),
        ema: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, use_ema=ema > 0, ema_momentum=ema, **kwargs)
        self._paces = {self._var_key(variable): pace for variable, pace in paces}

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, tf.Variable]], *args: Any, **kwargs: Any
    ) -> tf.Variable:
        masked = [(self._masked(g, v), v) for g, v in grads_and_vars]
        return super().apply_gradients(masked, *args, **kwargs)

    def _masked(self, gradient: Any, variable: tf.Variable) -> Any:
        """Returns the gradient, or zeros before the variable's first step."""
        pace = self._paces.get(self._var_key(variable))
        if gradient is None or pace is None or not pace.first_step:
            return gradient
        begun = self.iterations >= pace.first_step
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.where(begun, gradient.values, tf.zeros_like(gradient.values))
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return tf.where(begun, gradient, tf.zeros_like(gradient))

    def _use_weight_decay(self, variable: tf.Variable) -> bool:
        # Keras would decay at the common rate; `update_step` decays at the variable's own rate.
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
        gradient = tf.convert_to_tensor(gradient)  # table rows that are not in the batch get zeros
        if super()._use_weight_decay(variable):
            variable.assign_sub(variable * tf.cast(self.weight_decay, dtype) * rate)
        mean.assign_add((gradient - mean) * (1 - first))
        square.assign_add((tf.square(gradient) - square) * (1 - second))
        variable.assign_sub(mean * alpha / (tf.sqrt(square) + self.epsilon))

    def average(self, variable: tf.Variable) -> tf.Variable:
        """Returns the variable that holds the moving average of the given variable."""
        return self._model_variables_moving_average[self._index_dict[self._var_key(variable)]]

    def _update_model_variables_moving_average(self, var_list: Iterable[tf.Variable]) -> None:
        # Keras calls this at the end of every step. Its own version uses a constant decay.
        step = tf.cast(self.iterations, tf.float32)
        share = 1.0 - tf.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))

        def move(average: tf.Variable, variable: tf.Variable) -> None:
            average.assign_add((variable - average) * tf.cast(share, average.dtype))

        for variable in var_list:
            self._distribution_strategy.extended.update(
                self.average(variable), move, args=(variable,), group=False
            )


def make_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup: float,
    weight_decay: float,
    clip_norm: float,
    paces: Sequence[tuple[tf.Variable, Pace]] = (),
    ema: float = 0.0,
) -> PacedAdamW:
    """Returns AdamW whose rate rises to `learning_rate`, then falls to zero along a cosine.

    Args:
      learning_rate: The peak of the rate.
      steps: Number of steps of the whole training.
      warmup: Share of the steps in which the rate rises.
      weight_decay: Decoupled weight decay. It excludes the variables of `WITHOUT_DECAY`, such as
        biases, norms and embeddings of absence.
      clip_norm: Upper bound on the gradient's global norm.
      paces: Variables that begin later or learn at another rate.
      ema: Decay of the moving averages of the variables; 0 for none.

    Example:
      The rate is 0 in the first of ten steps and 0.1 in the second:

      >>> import tensorflow as tf
      >>> optimizer = make_optimizer(
      ...     learning_rate=0.1, steps=10, warmup=0.1, weight_decay=0.0, clip_norm=1.0
      ... )
      >>> weight, weights = tf.Variable(1.0), []
      >>> for _ in range(2):
      ...     _ = optimizer.apply_gradients([(tf.constant(1.0), weight)])
      ...     weights.append(round(float(weight), 4))
      >>> weights
      [1.0, 0.9]
    """
    rising = max(int(steps * warmup), 1)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(steps - rising, 1),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )
    optimizer = PacedAdamW(
        schedule, paces, ema, weight_decay=weight_decay, global_clipnorm=clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=list(WITHOUT_DECAY))
    return optimizer
