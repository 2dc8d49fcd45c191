"""Probabilities of events that can only follow another event, learned on all shown candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


class EntireSpace(tf.keras.layers.Layer):
    """Logits [B, L] by task; a task's probability is multiplied by that of the task it follows.

    With logits a of a click and b of a purchase given a click, p = σ(a) σ(b) is the probability of
    a purchase. Its logit is −log(e^−a + e^−b + e^−(a+b)), since 1/p − 1 is the sum in brackets. The
    logit is computed in the log domain, so that neither rare nor certain events lose their
    gradient.

    Masking: the logits of padding stay 0.

    Args:
      given: For each task that follows another, that other task, which may follow a third.

    Source: Ma et al. 2018 (SIGIR), "Entire space multi-task model: an effective approach for
    estimating post-click conversion rate", equations 1 to 3.

    Example:
      A click and a purchase given a click have logit 0, thus 1/2 each. The probability of a
      purchase is 1/4, whose logit is −ln 3:

      >>> import tensorflow as tf
      >>> layer = EntireSpace({"buy": "click"})
      >>> given = {"click": tf.zeros([1, 1]), "buy": tf.zeros([1, 1])}
      >>> logits = layer((given, tf.constant([[True]])))
      >>> logits["buy"].numpy().round(4), logits["click"].numpy()
      (array([[-1.0986]], dtype=float32), array([[0.]], dtype=float32))
    """

    def __init__(self, given: Mapping[str, str], **kwargs: Any):
        super().__init__(**kwargs)
        self.given = dict(given)

    def call(self, inputs: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        """Args: logits [B, L] by task, each given the previous task; mask [B, L] bool."""
        logits, mask = inputs
        return {task: tf.where(mask, self._whole(task, logits), 0.0) for task in logits}

    def _whole(self, task: str, logits: Mapping[str, tf.Tensor]) -> tf.Tensor:
        own = logits[task]
        if task not in self.given:
            return own
        before = self._whole(self.given[task], logits)
        return -tf.reduce_logsumexp(tf.stack([-before, -own, -(before + own)]), 0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"given": self.given}
