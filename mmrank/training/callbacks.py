"""What happens beside the optimisation: progress, health, validation, checkpoints, stopping."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mmrank.data.batches import ListArrays, bucket_lengths
from mmrank.data.run_state import read_state
from mmrank.outputs import UserError, write_whole
from mmrank.ranking.labels import masked_labels
from mmrank.ranking.metrics import make_metric
from mmrank.ranking.task_metrics import task_figures
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.scoring import ListScorer
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list
from mmrank.training.targets import for_metric

logger = logging.getLogger(__name__)


class TrainingError(UserError):
    """Training that cannot go on; the message says why and what to try."""


class Progress(tf.keras.callbacks.Callback):
    """Shows loss, NDCG@10, lists per second and time left.

    A terminal gets a moving bar, anything else a line every `every` seconds.

    Args:
      lists_per_step: Lists of a step on all replicas.
      epochs, first_epoch: Epochs in all, and the one that training starts at.
      steps: Steps of an epoch.
      every: Seconds between two lines.
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
            f"loss {logs['loss']:.4f}{_ndcg(logs, '  ndcg@10')}  "
            f"{self._done * self._lists / spent:.1f} lists/s  {left / 60:.1f} min left"
        )


class Health(tf.keras.callbacks.Callback):
    """Stops on a loss that is no number; warns of one stuck at zero."""

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
                "candidate, or all candidates of each list bear one grade"
            )


@dataclasses.dataclass
class State:
    """Where a training stands, beside the weights; kept as JSON.

    Attributes:
      data: Folder of the dataset.
      epoch: Epochs finished.
      checkpoint: Of the last finished epoch, relative to the run.
      best: Best validation figure (`training.select_metric`) so far, `best_weights` its weights.
      waited: Validations since then.
      finished: Whether training ended by itself.
      history: Figures of every epoch.
      init_from: The run whose weights this one began with.
      start: NDCG@10 of each validation list by the weights that training began with, while these
        are the best ones.
      tables: What tells the contents of the dataset's tables apart, as `table_hashes` gives it.
    """

    data: str
    epoch: int = 0
    checkpoint: str | None = None
    best: float = -1.0
    best_weights: str | None = None
    waited: int = 0
    finished: bool = False
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    init_from: str | None = None
    start: list[float] = dataclasses.field(default_factory=list)
    tables: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self, file: pathlib.Path) -> None:
        """Writes the state, whole or not at all."""
        write_whole(file, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, file: pathlib.Path) -> State:
        """The state that `save` wrote; raises as `read_state`."""
        return cls(**read_state(file))


class ReseedEpoch(tf.keras.callbacks.Callback):
    """Seeds every random generator anew at each epoch, so that a resumed run draws the same.

    Args:
      seed: Of the run.
      draws: Whether the loss draws with plain TensorFlow ops. Their sequences start anew too, the
        same one in every epoch; TensorFlow prepares its graphs again for that, which takes
        seconds, so it is left out where nothing is drawn.
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


class EpochEnd(tf.keras.callbacks.Callback):
    """Validates, checkpoints and stops early at the end of every epoch, in that order.

    The state file is written last and names its checkpoint, so that a run killed at any moment
    resumes from a whole epoch.

    Args:
      run: The run's folder.
      state: Where training stands; updated.
      checkpoint: What a resumed run needs.
      network: The Keras model whose weights are kept.
      scorer, valid: Scores the validation lists.
      patience: Epochs without improvement before training stops.
      writes: Whether this worker writes the run's files. The others take part in writing, since
        what lies on all of them is gathered for it, and throw their copy away.
      outputs: What the outputs of the network's tasks mean, so that each has its own figures.
      agree: From the figure of this worker to that of all.
      from_start: Whether the weights that training begins with are validated and kept too, for a
        ranker that is of use before the first step. An epoch replaces them only if it is better by
        more than one standard error: with few validation lists the best of many epochs is luck.
      select: The metric by which weights are the best, `ndcg@10` or another of `make_metric`.
      relevant_grade: The lowest grade that is relevant to all metrics but NDCG.
    """

    def __init__(
        self,
        run: pathlib.Path,
        state: State,
        checkpoint: tf.train.Checkpoint,
        network: tf.keras.Model,
        scorer: ListScorer,
        valid: ListArrays,
        patience: int,
        writes: bool = True,
        outputs: TaskOutputs | None = None,
        agree: Callable[[float], float] = float,
        from_start: bool = False,
        select: str = "ndcg@10",
        relevant_grade: float = 1.0,
    ):
        super().__init__()
        self._from_start = from_start
        self._outputs, self._agree = outputs, agree
        self._run, self._state, self._checkpoint = run, state, checkpoint
        self._network, self._scorer, self._valid = network, scorer, valid
        self._patience, self._writes = patience, writes
        # Made here, outside of the scope that Keras trains in: the sums of a metric made in there
        # belong to replicas, which a callback is not.
        self._select = select
        self._metrics = {
            name: (make_metric(name), for_metric(valid, name, relevant_grade))
            for name in dict.fromkeys(["ndcg@10", select])
        }

    def on_train_begin(self, logs: Any = None) -> None:
        state = self._state
        if not self._from_start or state.best_weights is not None:
            return
        scores = self._scorer.scores(self._scorer.raw(self._valid))
        figures = self._figures(scores)
        state.best, state.start = figures[self._select], self._by_list(scores).tolist()
        state.best_weights = "checkpoints/best-0"
        with self._folder() as folder:
            self._network.save_weights(folder / state.best_weights)
        logger.info("before training%s", _told(figures))

    def _by_list(self, scores: np.ndarray) -> np.ndarray:
        """NDCG@10 of each validation list with candidates of different grades."""
        gains = np.exp2(self._valid.grades.astype(np.float64)) - 1.0
        return ndcg_by_list(scores, gains, lists_with_a_gain(self._valid.offsets, gains))

    def _figures(self, scores: np.ndarray) -> dict[str, float]:
        """The validation metrics of scores [rows] by name."""
        return {
            name: self._agree(validation_ndcg(scores, valid, metric))
            for name, (metric, valid) in self._metrics.items()
        }

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raw = self._scorer.raw(self._valid)
        scores = self._scorer.scores(raw)
        if _all_tie(scores, self._valid):
            logger.warning(
                "all candidates of every validation list tie: the model tells none apart. "
                "Try a lower training.learning_rate, and see that the features are not all absent"
            )
        figures = self._figures(scores)
        logs |= {f"val_{name.replace('@', '_')}": value for name, value in figures.items()}
        chosen = figures[self._select]
        by_task: dict[str, dict[str, float]] = {}
        if self._outputs is not None:
            by_task = task_figures(self._outputs, raw, self._valid.labels)
        for task, of_task in by_task.items():
            logs |= {f"val_{task}_{n}": v for n, v in of_task.items() if math.isfinite(v)}
        state = self._state
        old = (state.checkpoint, state.best_weights)
        state.epoch = epoch + 1
        state.history.append({k: float(v) for k, v in logs.items()})
        better = chosen > state.best
        if better and state.start:
            better = clearly_better(self._by_list(scores), np.array(state.start))
        state.waited = 0 if better else state.waited + 1
        state.checkpoint = f"checkpoints/epoch-{epoch + 1}"
        if better:
            state.best, state.best_weights = chosen, f"checkpoints/best-{epoch + 1}"
            state.start = []
        new = (state.checkpoint, state.best_weights)
        try:
            with self._folder() as folder:
                self._checkpoint.write(str(folder / state.checkpoint))
                if better:
                    self._network.save_weights(folder / str(state.best_weights))
        except (tf.errors.OpError, OSError):
            self._forget(set(new) - set(old))  # a disk that is full should have room again
            raise
        stop = state.waited >= self._patience
        if stop:
            # Said in the same file as the epoch, so that a run killed right here stays stopped.
            self.model.stop_training = state.finished = True
        if self._writes:
            state.save(self._run / "state.json")
            self._forget({o for o, n in zip(old, new, strict=True) if o != n})
        logger.info(
            "epoch %d  loss %.4f%s%s%s%s",
            epoch + 1,
            logs["loss"],
            _ndcg(logs, "  ndcg@10 train"),
            _told(figures),
            "  (best)" if better else "",
            f"; stopped, no better for {state.waited} epochs" if stop else "",
        )
        for task, of_task in by_task.items():
            told = "  ".join(f"{name} {value:.4f}" for name, value in of_task.items())
            logger.info("  %s: %s", task, told)

    def _forget(self, names: Iterable[str | None]) -> None:
        """Deletes the files of checkpoints."""
        for name in names:
            if name is not None and self._writes:
                _remove(self._run, name)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[pathlib.Path]:
        """Where this worker writes: the run, or a folder that is gone afterwards."""
        if self._writes:
            yield self._run
            return
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder)


def _told(figures: Mapping[str, float]) -> str:
    """The validation metrics in words."""
    return "".join(f"  {name} validation {value:.4f}" for name, value in figures.items())


def _ndcg(logs: Any, name: str) -> str:
    """The training figure under its name, nothing where several tasks have none."""
    return f"{name} {logs['ndcg_10']:.4f}" if "ndcg_10" in logs else ""


def validation_ndcg(
    scores: np.ndarray, arrays: ListArrays, metric: tf.keras.metrics.Metric | None = None
) -> float:
    """TF-Ranking's NDCG@10 of flat scores [rows], ties broken by one fixed draw.

    Lists without a relevant item are left out, as in an evaluation: any order of theirs is as good.

    Args:
      scores: In the order of the rows.
      arrays: The lists.
      metric: It or another metric, made outside of any strategy's scope; a new one if None.
    """
    metric = metric or make_metric("ndcg@10")
    metric.reset_state()
    # TF-Ranking would break them by another draw each time, and a resumed run would not agree.
    order = np.lexsort((np.random.default_rng(0).random(len(scores)), scores))
    ranks = np.empty(len(scores), np.float32)
    ranks[order] = np.arange(len(scores))
    lengths = arrays.lengths
    padded = bucket_lengths(lengths, (16, 64, 256))
    padded[np.maximum.reduceat(arrays.grades, arrays.offsets[:-1]) <= 0] = 0
    for length in np.unique(padded[padded > 0]):
        members = np.flatnonzero(padded == length)
        for part in np.split(members, range(256, len(members), 256)):
            mask = np.arange(length)[None, :] < lengths[part][:, None]
            rows = np.where(mask, arrays.offsets[part][:, None] + np.arange(length), 0)
            labels = masked_labels(tf.constant(arrays.grades[rows]), tf.constant(mask))
            metric.update_state(labels, ranks[rows])
    return float(metric.result())


def _all_tie(scores: np.ndarray, arrays: ListArrays) -> bool:
    lists = np.repeat(np.arange(len(arrays.lengths)), arrays.lengths)
    first = scores[arrays.offsets[lists]]
    return bool(len(scores)) and bool(np.all(scores == first))


def _remove(run: pathlib.Path, prefix: str) -> None:
    """Deletes the files of an outdated checkpoint, or of one that was not finished."""
    for file in (run / prefix).parent.glob(f"{pathlib.Path(prefix).name}.*"):
        file.unlink()
    shutil.rmtree(run / f"{prefix}_temp", ignore_errors=True)  # where TensorFlow writes it first
