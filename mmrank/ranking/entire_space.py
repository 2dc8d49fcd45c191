"""Chances of what can only follow something else, learned on everything that was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


class EntireSpace(tf.keras.layers.Layer):
    """Logits [B, L] by task, in which a task's chance is multiplied by that of the one it follows.

    With logits a of a click and b of a purchase given a click, p = σ(a) σ(b) is the chance of a
    purchase, whose logit is −log(e^−a + e^−b + e^−(a+b)): 1/p − 1 is the sum in brackets. It is
    taken in the log domain, so that neither rare nor certain events lose their gradient.

    Masking: the logits of padding stay 0.

    Args:
      given: By task, the one that it follows; that one may follow another in turn.

    Source: Ma et al. 2018 (SIGIR), "Entire space multi-task model: an effective approach for
    estimating post-click conversion rate", equations 1 to 3.
    """

    def __init__(self, given: Mapping[str, str], **kwargs: Any):
        super().__init__(**kwargs)
        self.given = dict(given)

    def call(self, inputs: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        """Args: logits [B, L] by task, each given the task before it; mask [B, L] bool."""
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
