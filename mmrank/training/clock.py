"""Measures the time of training, step by step."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf


class Clock(tf.keras.callbacks.Callback):
    """Records when training began, when each step ended, and when the last epoch ended.

    Attributes:
      started, ended: Times of `time.monotonic`, in seconds.
      steps: The time at which each step ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started = self.ended = 0.0
        self.steps: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.started = self.ended = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(time.monotonic())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ended = time.monotonic()
