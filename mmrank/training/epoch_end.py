"""The end of an epoch: validation, checkpoints, early stopping."""

from __future__ import annotations

import contextlib
import logging
import math
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.config import STATE_FILE
from mmrank.data.batches import ListArrays
from mmrank.ranking.task_metrics import task_figures
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.scoring import ListScorer
from mmrank.training.callbacks import ndcg_text
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list
from mmrank.training.state import State
from mmrank.training.validation import all_tie, figure_by, log_name

logger = logging.getLogger(__name__)


class EpochEnd(tf.keras.callbacks.Callback):
    """Validates, checkpoints and stops early at the end of every epoch, in that order.

    The state file is written last and names its checkpoint, so that a run killed at any moment
    resumes from a finished epoch.

    Args:
      run: The run's folder.
      state: The progress of training; updated.
      checkpoint: Everything that a resumed run needs.
      network: The Keras model whose best weights are saved.
      scorer: Scores the validation lists.
      valid: The validation lists.
      patience: Epochs without improvement before training stops.
      writes: Whether this worker writes the run's files. The other workers take part in writing,
        since values distributed over all workers are gathered for it. They discard their copy.
      outputs: The meaning of the outputs of the network's tasks, so that each task gets figures.
      agree: Maps the figure of this worker to the figure of all workers.
      from_start: Whether the initial weights are also validated and saved, for a ranker that is
        useful before the first step. An epoch replaces them only if it is better by more than one
        standard error, since with few validation lists the best of many epochs may be chance.
      select: The metric that selects the best weights, `ndcg@10` or another of `make_metric`.
      relevant_grade: The lowest grade that counts as relevant for all metrics except NDCG.
      averaged: Returns a context in which the network has the weights that are validated and saved
        as the best, for example averages of the weights that training continues from.
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
        averaged: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        super().__init__()
        self._from_start, self._averaged = from_start, averaged
        self._outputs, self._agree = outputs, agree
        self._run, self._state, self._checkpoint = run, state, checkpoint
        self._network, self._scorer, self._valid = network, scorer, valid
        self._patience, self._writes = patience, writes
        # The metrics are made here, outside of the scope that Keras trains in. The state of a
        # metric made in that scope belongs to replicas, and a callback does not run in a replica.
        self._select = select
        self._metrics = {
            name: figure_by(name, valid, relevant_grade)
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
        logger.info("before training%s", _validation_text(figures))

    def _by_list(self, scores: np.ndarray) -> np.ndarray:
        """Returns NDCG@10 of each validation list that has candidates of different grades."""
        gains = np.exp2(self._valid.grades.astype(np.float64)) - 1.0
        shuffle = None if self._outputs is None else 0  # tasks learn from what was logged
        return ndcg_by_list(scores, gains, lists_with_a_gain(self._valid.offsets, gains, shuffle))

    def _figures(self, scores: np.ndarray) -> dict[str, float]:
        """Returns the validation metrics of scores [rows] by name."""
        return {name: self._agree(figure(scores)) for name, figure in self._metrics.items()}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self._averaged():
            raw = self._scorer.raw(self._valid)
        scores = self._scorer.scores(raw)
        if all_tie(scores, self._valid):
            logger.warning(
                "all candidates of every validation list have the same score. Try a lower "
                "training.learning_rate, and check that features are not all absent"
            )
        figures = self._figures(scores)
        logs |= {log_name(name): value for name, value in figures.items()}
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
                    with self._averaged():
                        self._network.save_weights(folder / str(state.best_weights))
        except (tf.errors.OpError, OSError):
            self._forget(set(new) - set(old))  # to free space, since the disk may be full
            raise
        stop = state.waited >= self._patience
        if stop:
            # Saved in the same file as the epoch, so that a run killed right here stays stopped.
            self.model.stop_training = state.finished = True
        if self._writes:
            state.save(self._run / STATE_FILE)
            self._forget({o for o, n in zip(old, new, strict=True) if o != n})
        logger.info(
            "epoch %d  loss %.4f%s%s%s%s",
            epoch + 1,
            logs["loss"],
            ndcg_text(logs, "  ndcg@10 train"),
            _validation_text(figures),
            "  (best)" if better else "",
            f"; stopped after {state.waited} epochs without improvement" if stop else "",
        )
        for task, of_task in by_task.items():
            text = "  ".join(f"{name} {value:.4f}" for name, value in of_task.items())
            logger.info("  %s: %s", task, text)

    def _forget(self, names: Iterable[str | None]) -> None:
        """Deletes the files of the named checkpoints."""
        for name in names:
            if name is not None and self._writes:
                _remove(self._run, name)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[pathlib.Path]:
        """Yields the folder that this worker writes to: the run, or a temporary folder."""
        if self._writes:
            yield self._run
            return
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder)


def _validation_text(figures: Mapping[str, float]) -> str:
    """Returns the validation metrics in words."""
    return "".join(f"  {name} validation {value:.4f}" for name, value in figures.items())


def _remove(run: pathlib.Path, prefix: str) -> None:
    """Deletes the files of an outdated or unfinished checkpoint."""
    for file in (run / prefix).parent.glob(f"{pathlib.Path(prefix).name}.*"):
        file.unlink()
    shutil.rmtree(run / f"{prefix}_temp", ignore_errors=True)  # TensorFlow's own partial folder
