"""Keras callbacks within an epoch: progress, health checks, seeds."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mmrank.training.state import TrainingError

logger = logging.getLogger(__name__)


class Progress(tf.keras.callbacks.Callback):
    """Shows loss, NDCG@10, lists per second and time left.

    On a terminal this is a progress bar, otherwise a log line every `every` seconds.

    Args:
      lists_per_step: Number of lists in a step, over all replicas.
      epochs, first_epoch: Total number of epochs, and the epoch at which training starts.
      steps: Steps per epoch.
      every: Seconds between two log lines.
    """

    def __init__(
        self, lists_per_step: int, epochs: int, first_epoch: int, steps: int, every: float = 20.0
    ):
        super().__init__()
        self._lists, self._epochs, self._steps = lists_per_step, epochs, steps
        self._first, self._every = first_epoch, every
        self._done = 0
        self._bar: tqdm | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._start = self._last = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self._steps, desc=f"epoch {epoch + 1}/{self._epochs}", unit="step"
            )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(self._figures(logs), refresh=False)
        elif time.monotonic() - self._last > self._every:
            self._last = time.monotonic()
            logger.info(
                "epoch %d/%d step %d/%d  %s",
                self._epoch + 1,
                self._epochs,
                batch + 1,
                self._steps,
                self._figures(logs),
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _figures(self, logs: Any) -> str:
        spent = time.monotonic() - self._start
        left = spent / self._done * (self._steps * (self._epochs - self._first) - self._done)
        return (
            f"loss {logs['loss']:.4f}{ndcg_text(logs, '  ndcg@10')}  "
            f"{self._done * self._lists / spent:.1f} lists/s  {left / 60:.1f} min left"
        )


class Health(tf.keras.callbacks.Callback):
    """Stops training if the loss is not finite; warns if it is 0 in a whole epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss is {logs['loss']} at step {int(self.model.optimizer.iterations)}. "
                "Try a lower training.learning_rate or training.clip_norm, "
                "training.mixed_precision float32, and `python -m mmrank.validate` on the data"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["loss"] == 0:
            logger.warning(
                "the loss was exactly 0 in the whole epoch: no training list has a relevant "
                "candidate, or all candidates of each list have the same grade"
            )


class ReseedEpoch(tf.keras.callbacks.Callback):
    """Seeds every random generator again at each epoch, so that a resumed run draws the same.

    Args:
      seed: Seed of the run.
      draws: Whether the loss draws random numbers with plain TensorFlow ops. If so, their sequences
        are also restarted, with the same sequence in every epoch. TensorFlow then prepares its
        graphs again, which takes seconds, so this is skipped if the loss draws nothing.
    """

    def __init__(self, seed: int, draws: bool):
        super().__init__()
        self._seed, self._draws = seed, draws

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._draws:
            tf.random.set_seed(self._seed)
        words = np.random.SeedSequence([self._seed, epoch])
        generators = [
            layer._random_generator._generator
            for layer in self.model._flatten_layers()
            if getattr(layer, "_random_generator", None) is not None
        ]
        for generator, state in zip(
            generators, words.generate_state(len(generators), np.uint32), strict=True
        ):
            generator.reset_from_seed(int(state))


def ndcg_text(logs: Any, name: str) -> str:
    """Returns the training NDCG@10 with a name; an empty string if training does not compute it."""
    return f"{name} {logs['ndcg_10']:.4f}" if "ndcg_10" in logs else ""
