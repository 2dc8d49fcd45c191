"""The search: starts, monitors and prunes several trials at a time and reports them to a study."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from mmrank.config import Config, from_mapping
from mmrank.outputs import UserError
from mmrank.tuning.space import Space, as_text
from mmrank.tuning.study import (
    AS_GIVEN,
    END,
    EPOCHS,
    FAILED,
    PRUNED,
    REPEATED,
    SECONDS,
    WHOLE,
    WHY,
    best_of,
    counted,
    trial_folder,
)
from mmrank.tuning.trial import EPOCH, LOG_FILE, begin_trial

REFUSALS = 100  # invalid combinations in a row, after which the space is considered wrong
FAILURES = 3  # failed trials in a row, after which the cause is not considered to be the settings
Begin = Callable[[Mapping[str, Any], pathlib.Path, pathlib.Path], tuple[BaseProcess, Connection]]
logger = logging.getLogger(__name__)


class SearchError(UserError):
    """A search that cannot continue.

    Example:
      >>> import pathlib
      >>> import optuna
      >>> from mmrank.tuning import Range
      >>> def refuse(plain):
      ...     raise UserError("too wide")
      >>> space, here = Space("space.yaml", (Range("model.width", 8, 64),), {}), pathlib.Path(".")
      >>> study = optuna.create_study(direction="maximize")
      >>> Search(study, space, here, here, 1, 1, check=refuse, report=lambda: None).run()
      Traceback (most recent call last):
      mmrank.tuning.search.SearchError: space.yaml: the config refuses 100 combinations in a ...
    """


@dataclasses.dataclass
class _Trial:
    """A running trial; `last` is its last epoch, unless it stops early."""

    trial: optuna.Trial
    last: int
    process: BaseProcess
    messages: Connection
    began: float
    epochs: int = 0

    def end(self) -> None:
        """Kills the trial's process."""
        self.process.kill()
        self.process.join()
        self.messages.close()


class Search:
    """Runs trials of a space until there are enough.

    Args:
      study: The study.
      space: The search space.
      data: The dataset.
      out: The folder of the search.
      trials: Total number of trials, including earlier trials of the study.
      jobs: Number of trials that run at a time.
      check: Raises a `UserError` for a config that cannot be trained.
      report: Called after each trial.
      end: Time at which the search ends, by `time.monotonic`; None for no limit.
      begin: Starts a trial's process, as `begin_trial` does.

    Example:
      With trials that report a figure at once instead of training:

      >>> import json
      >>> import multiprocessing
      >>> import pathlib
      >>> from unittest import mock
      >>> import optuna
      >>> from mmrank.tuning import Range
      >>> def begin(plain, data, folder):
      ...     receiver, sender = multiprocessing.Pipe(duplex=False)
      ...     figure = 1.0 - plain["training"]["learning_rate"]
      ...     sender.send_bytes(json.dumps({"whole": figure, "epochs": 1}).encode())
      ...     return mock.Mock(), receiver
      >>> base = {"training": {"learning_rate": 0.25}}
      >>> space = Space("space.yaml", (Range("training.learning_rate", 0.0, 1.0),), base)
      >>> study, here = optuna.create_study(direction="maximize"), pathlib.Path(".")
      >>> ignore = mock.Mock()
      >>> Search(study, space, here, here, 2, 1, check=ignore, report=ignore, begin=begin).run()
      >>> len(study.trials), study.trials[0].value  # the first trial uses the config's own values
      (2, 0.75)
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        data: pathlib.Path,
        out: pathlib.Path,
        trials: int,
        jobs: int,
        check: Callable[[Mapping[str, Any]], None],
        report: Callable[[], None],
        end: float | None = None,
        begin: Begin = begin_trial,
    ):
        self._study, self._space, self._data, self._out = study, space, data, out
        self._trials, self._jobs, self._check, self._report = trials, jobs, check, report
        self._begin = begin
        self._deadline = float("inf") if end is None else end
        self._running: dict[Connection, _Trial] = {}
        self._failed = 0

    def run(self) -> None:
        """Runs trials until there are enough or the time is over.

        Raises:
          SearchError: Three trials in a row failed, or the config accepts none of 100 combinations
            in a row.
        """
        ended = counted(self._study)
        if not any(AS_GIVEN in trial.user_attrs for trial in ended):
            self._enqueue_base()
        try:
            while True:
                while len(self._running) < self._jobs and self._continues():
                    self._start()
                if not self._running:
                    return
                left = self._deadline - time.monotonic()
                ready = wait(list(self._running), None if left == float("inf") else max(left, 0.0))
                for messages in ready:
                    assert isinstance(messages, Connection)
                    self._receive(messages)
                if not ready and time.monotonic() >= self._deadline:
                    logger.info("the time is up; %d trials are stopped", len(self._running))
                    return
        finally:
            for one in self._running.values():
                one.end()
                self._study.tell(one.trial, state=TrialState.FAIL)
                shutil.rmtree(trial_folder(self._out, one.trial.number), ignore_errors=True)

    def _enqueue_base(self) -> None:
        """Makes the first trial use the config's own values, as far as the space contains them."""
        drawn = self._space.drawn_for_base()
        outside = [s.key for s in self._space.settings if s.key not in drawn]
        if outside:
            logger.info(
                "drawn, since the config's values are outside the space: %s", ", ".join(outside)
            )
        self._study.enqueue_trial(drawn, user_attrs={AS_GIVEN: not outside})

    def _continues(self) -> bool:
        """Returns whether another trial is needed and is likely to end in time."""
        done = counted(self._study)
        if len(done) + len(self._running) >= self._trials:
            return False
        spent = [t.user_attrs[SECONDS] for t in done if t.user_attrs[END] == WHOLE]
        return time.monotonic() + (float(np.median(spent)) if spent else 0.0) < self._deadline

    def _start(self) -> None:
        """Starts the next trial.

        If an earlier completed trial had the same settings, its figure is reported instead.
        """
        for _ in range(REFUSALS):
            trial = self._study.ask()
            plain = self._space.plain(self._space.suggest(trial))
            try:
                self._check(plain)
            except UserError as error:
                refused = error
                trial.set_user_attr(WHY, str(error))
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            break
        else:
            raise SearchError(
                f"{self._space.name}: the config refuses {REFUSALS} combinations in a row, "
                f"the last one: {refused}"
            )
        for before in counted(self._study):
            if before.params == trial.params and before.state == TrialState.COMPLETE:
                trial.set_user_attr(WHY, f"as trial {before.number}")
                self._record(trial, REPEATED, before.value, 0.0)
                return
        folder = trial_folder(self._out, trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        process, messages = self._begin(plain, self._data, folder)
        last = from_mapping(Config, plain, self._space.name).training.epochs
        self._running[messages] = _Trial(trial, last, process, messages, time.monotonic())

    def _receive(self, messages: Connection) -> None:
        """Handles one message of a trial, or the end of its process without a message."""
        one = self._running[messages]
        number = one.trial.number
        try:
            message = json.loads(messages.recv_bytes())
        except EOFError:
            one.process.join()
            code = one.process.exitcode
            log = trial_folder(self._out, number) / LOG_FILE
            what = f"code {code}"
            if code is not None and code < 0:
                what = f"signal {-code}, as when memory runs out"
            message = {FAILED: f"ended by {what}; see {log}"}
        if EPOCH in message:
            one.epochs = message[EPOCH]
            one.trial.report(message["figure"], one.epochs)
            if one.epochs >= one.last or not one.trial.should_prune():
                return
            message = {PRUNED: f"after epoch {one.epochs}"}
        del self._running[messages]
        one.end()
        spent = time.monotonic() - one.began
        one.trial.set_user_attr(EPOCHS, message.get("epochs", one.epochs))
        if WHOLE in message:
            self._failed = 0
            self._record(one.trial, WHOLE, message[WHOLE], spent)
            return
        end = PRUNED if PRUNED in message else FAILED
        one.trial.set_user_attr(WHY, message[end])
        self._failed = self._failed + 1 if end == FAILED else 0
        self._record(one.trial, end, None, spent)
        if self._failed >= FAILURES:
            raise SearchError(
                f"{FAILURES} trials in a row failed, the last one, {number}: {message[end]}"
            )

    def _record(self, trial: optuna.Trial, end: str, figure: float | None, spent: float) -> None:
        """Records how a trial ended, and logs it on one line."""
        trial.set_user_attr(END, end)
        trial.set_user_attr(SECONDS, spent)
        # A failed trial is reported as pruned, since the sampler learns from pruned trials and then
        # avoids such settings.
        self._study.tell(
            trial, figure, state=TrialState.PRUNED if figure is None else TrialState.COMPLETE
        )
        done = counted(self._study)
        best = best_of(done)
        self._keep_weights_of(None if best is None else best.number, trial.number)
        why = trial.user_attrs.get(WHY)
        settings = ", ".join(f"{k.rpartition('.')[2]} {_short(v)}" for k, v in trial.params.items())
        logger.info(
            "%d/%d  trial %d %s%s  %.0f s  %s%s",
            len(done),
            self._trials,
            trial.number,
            end if figure is None else f"{figure:.4f}",
            f" ({why})" if why else "",
            spent,
            "no best yet" if best is None else f"best {best.value:.4f}, trial {best.number}",
            f": {settings}" if best is not None and best.number == trial.number else "",
        )
        self._report()

    def _keep_weights_of(self, best: int | None, ended: int) -> None:
        """Removes the weights of the trial that ended, or of all others if it is the best."""
        numbers = [ended] if ended != best else [t.number for t in counted(self._study)]
        for number in numbers:
            if number != best:
                shutil.rmtree(trial_folder(self._out, number) / "checkpoints", ignore_errors=True)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else as_text(value).strip("'")
