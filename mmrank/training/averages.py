"""Moving averages of the weights, which are validated and saved instead of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from mmrank.training.optimizer import PacedAdamW


class Averages:
    """The averages that an optimizer keeps of the weights of a network.

    They are variables of the optimizer, so that a checkpoint has them in addition to the weights
    that training continues from.

    Args:
      optimizer: The optimizer, built over the variables, with `ema` above 0.
      variables: The trainable variables.
    """

    def __init__(self, optimizer: PacedAdamW, variables: Sequence[tf.Variable]):
        self._variables = list(variables)
        self._averages = [optimizer.average(v) for v in variables]

    def begin(self) -> None:
        """Sets the averages to the current weights; called once the initial weights are set."""
        _assign(self._averages, self._variables)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Replaces the weights by the averages inside the block, then restores them bitwise."""
        kept = tf.keras.backend.batch_get_value(self._variables)
        _assign(self._variables, self._averages)
        try:
            yield
        finally:
            tf.keras.backend.batch_set_value(list(zip(self._variables, kept, strict=True)))


def _assign(variables: Sequence[tf.Variable], others: Sequence[tf.Variable]) -> None:
    values = tf.keras.backend.batch_get_value(others)
    tf.keras.backend.batch_set_value(list(zip(variables, values, strict=True)))
