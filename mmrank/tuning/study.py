"""The study of a search, saved in its folder: the trials, and what the search began with."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.columns import TABLES
from mmrank.data.embedding_cache import files_hash
from mmrank.data.reading import parts_of
from mmrank.outputs import OutputError, refuse_filled
from mmrank.schema import SCHEMA_FILE, Schema
from mmrank.tuning.space import STUDY_FILE, Space

LOCK_FILE, TRIALS = ".lock", "trials"
# User attributes of a trial. END is how it ended, where WHOLE means completed. A trial without END
# was interrupted and does not count.
END = "end"
WHOLE, PRUNED, FAILED, REPEATED = "whole", "pruned", "failed", "repeated"
WHY, EPOCHS, SECONDS = "why", "epochs", "seconds"
AS_GIVEN = "as_given"  # of the first trial: whether it is the unchanged config
FIRST_RANDOM = (5, 10)  # minimum and maximum number of initial random trials
FIRST_WHOLE, FIRST_EPOCHS = 4, 2  # completed trials, and epochs of a trial, before pruning


@contextlib.contextmanager
def open_study(
    out: pathlib.Path, began_with: Mapping[str, str], trials: int, seed: int
) -> Iterator[optuna.Study]:
    """Opens the study in a folder, new or existing, for one process at a time.

    Args:
      out: The folder; it is made if it does not exist.
      began_with: By option, a fingerprint of what the option names.
      trials: Total number of trials.
      seed: Seed of the draws.

    Raises:
      OutputError: The folder holds something else, or another process works in it.
      ConfigError: The study began with another config, space or dataset.

    Example:
      >>> import pathlib
      >>> out = pathlib.Path("search")
      >>> with open_study(out, {"--space": "1a2b"}, trials=10, seed=0) as study:
      ...     len(study.trials)
      0
      >>> with open_study(out, {"--space": "3c4d"}, trials=10, seed=0) as study:
      ...     pass
      Traceback (most recent call last):
      mmrank.config.ConfigError: search: its search began with another --space; ...
    """
    if not (out / STUDY_FILE).is_file():
        refuse_filled(out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{out}: another search is running there; wait for it to end"
            ) from error
        yield _study(out, began_with, trials, seed)


def _study(
    out: pathlib.Path, began_with: Mapping[str, str], trials: int, seed: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{(out / STUDY_FILE).absolute()}"
    study = optuna.create_study(
        storage=storage, study_name="mmrank", direction="maximize", load_if_exists=True
    )
    before = study.user_attrs
    for option, fingerprint in began_with.items():
        if before.get(option, fingerprint) != fingerprint:
            raise ConfigError(
                f"{out}: its search began with another {option}; give that one, or another --out"
            )
        study.set_user_attr(option, fingerprint)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    fewest, most = FIRST_RANDOM
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=min(max(trials // 4, fewest), most),
        # A new seed each time, since the same seed would draw the first trials again.
        seed=(seed + len(study.get_trials(deepcopy=False))) % 2**32,
    )
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=FIRST_WHOLE, n_warmup_steps=FIRST_EPOCHS
    )
    return study


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the trials that count, in order: those that were not interrupted."""
    return [
        t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and END in t.user_attrs
    ]


def best_of(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Returns the best completed trial, the first one if several tie; None without any."""
    whole = [t for t in trials if t.user_attrs[END] == WHOLE]
    return max(whole, key=lambda t: (t.value, -t.number), default=None)


def trial_folder(out: pathlib.Path, number: int) -> pathlib.Path:
    """Returns the folder of a trial's run."""
    return out / TRIALS / str(number)


def fingerprints(space: Space, data: pathlib.Path, schema: Schema) -> dict[str, str]:
    """Returns a fingerprint of each input that identifies a search, by command-line option.

    Args:
      space: The space with its base.
      data: The dataset; its tables and its schema are hashed.
      schema: The dataset's schema.
    """
    # The path of the dataset is left out, since its contents are hashed below.
    config = dataclasses.asdict(from_mapping(Config, space.base, space.name))
    config["data"]["path"] = None
    searched = [[type(s).__name__, dataclasses.asdict(s)] for s in space.settings]
    tables = [getattr(schema, table) for table in TABLES]
    files = [f for t in tables if t is not None and t.file for f in parts_of(data / t.file)]
    return {
        "--config": _hash(config),
        "--space": _hash(searched),
        "--data": files_hash([data / SCHEMA_FILE, *files], data),
    }


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
